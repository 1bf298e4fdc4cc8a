"""Estimates from counts: proportions, tables of counts, events per exposure."""
