"""Submissions: one loop stores what the readers of all formats give."""
