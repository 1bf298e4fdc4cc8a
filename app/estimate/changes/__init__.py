"""Estimates of changes within patients and of differences between two groups."""
