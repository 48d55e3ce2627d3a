"""Accept or refuse a device: protocols as data, verdicts that uncertainty guards, lots."""
