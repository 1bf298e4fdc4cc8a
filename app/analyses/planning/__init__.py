"""What more patients would show, and what to collect."""
