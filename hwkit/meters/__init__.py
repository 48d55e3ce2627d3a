"""What sees power or energy; each module a driver."""
