"""What speaks against the figures, and what they depend on."""
