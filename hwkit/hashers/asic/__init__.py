"""ASIC miners: fed from a pool of our own, or watched through their API."""
