"""Estimates of times to an event."""
