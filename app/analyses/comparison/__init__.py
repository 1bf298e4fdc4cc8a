"""Two groups, two endpoints, two studies, and one model over all visits."""
