"""What all HTTP routes share: problems, responses, conditional requests, dependencies, the description, the state."""
