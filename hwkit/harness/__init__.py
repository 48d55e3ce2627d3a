"""The measurement: a plan, one loop, and figures that can be computed again from its rows."""
