"""A simulated miner: speaks a real one's dialect, and really hashes over Stratum with our kernels.

It is the test double of all that reads, feeds and restores miners, and what to try them on without
one. What it delivers is true: every share it submits as good is one. What it claims need not be.
"""
