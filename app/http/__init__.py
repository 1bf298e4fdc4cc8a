"""What every HTTP door shares: problems, responses, conditional requests, dependencies, the description, the state."""
