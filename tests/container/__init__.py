"""The image of the Dockerfile, built and started without a daemon: `python -m tests.container`."""
