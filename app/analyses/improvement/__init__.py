"""Improvement by the core set measures: the total improvement score and the IMACS definition."""
