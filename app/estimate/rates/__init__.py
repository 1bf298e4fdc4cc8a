"""Counts: proportions, tables of counts, events over exposure."""
