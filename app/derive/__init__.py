"""From columns to one row per patient: courses, baselines, visits, responses, remission episodes. No statistics."""
