"""What must be on the disk before anybody relies on it."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
