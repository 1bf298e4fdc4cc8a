"""From columns to one row per patient: courses, baselines, visits, responses, spells. Pure NumPy, no statistics."""
