"""How long CK stays normal: by strategy for rescue treatment, interval-censored, and compared between groups."""
