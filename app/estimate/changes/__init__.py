"""Differences within and between patients."""
