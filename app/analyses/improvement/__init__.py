"""The composite responses of the core set measures."""
