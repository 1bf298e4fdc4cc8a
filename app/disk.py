"""What must be on the disk before anybody relies on it."""

import os
from collections.abc import Iterable
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_whole(file: Path, content: Iterable[bytes], *, draft: Path, mode: int = 0o600) -> None:
    """Replace a file, or make it, for its owner only: after a loss of power it is complete, or as it was before.

    The bytes are written to the `draft` first, which must be in the same directory. Raises `OSError`, and what the
    content raises.
    """
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.writelines(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(file.parent)
