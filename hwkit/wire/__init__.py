"""How one talks: each protocol once, with a cap on what it reads and a deadline on how long."""
