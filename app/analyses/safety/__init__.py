"""Adverse events by every denominator, and the courses that they belong to."""
