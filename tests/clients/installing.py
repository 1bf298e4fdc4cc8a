"""Packages that a test installs into a folder of its own, by a lock."""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def install(command: list[str | Path], folder: Path, *, wrong: tuple[str, ...]) -> None:
    """Run an installer. Where it cannot reach its packages the test is skipped; a lock that is `wrong` is a failure."""
    told = subprocess.run(
        command, cwd=folder, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if told.returncode == 0:
        return
    if any(word in told.stderr for word in wrong):
        pytest.fail(f"The lock is not as it should be:\n{told.stderr}")
    lines = told.stderr.strip().splitlines() or ["without a word"]
    pytest.skip(f"{Path(command[0]).name} could not install packages: {lines[-1]}")
