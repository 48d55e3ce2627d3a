"""Everything that hashes."""
