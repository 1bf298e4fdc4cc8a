"""Derives one row per patient from the columns of a cohort: courses, baselines, visits, responses, remission episodes.

No statistics are computed here.
"""
