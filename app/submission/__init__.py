"""From what a reader found to what is stored: one loop for every format."""
