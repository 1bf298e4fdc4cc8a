"""Planning: how many patients a plan needs, what more patients would show, and which values are missing."""
