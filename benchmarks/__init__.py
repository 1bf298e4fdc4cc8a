"""MyoResponse beside what others would use for the same work: `make peers`. See README.md."""
