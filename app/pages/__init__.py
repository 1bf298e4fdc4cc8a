"""What a person sees: pages of the same answers, charts, and the printed report."""
