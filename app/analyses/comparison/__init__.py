"""Comparisons: of groups, of endpoints, of two studies, and the mixed model of all visits."""
