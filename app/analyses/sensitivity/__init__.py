"""Reasons for caution with the key results, and how far the results depend on a choice or on one patient."""
