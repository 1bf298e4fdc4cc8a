"""From columns to one row per patient: courses, baselines, visits, responses, remission episodes. Pure NumPy, no statistics."""
