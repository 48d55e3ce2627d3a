"""Reports: what a record holds, shown. No arithmetic that a record does not already hold."""
