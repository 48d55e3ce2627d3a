"""What SHA256d hashing hardware really delivers, proven and measured."""
