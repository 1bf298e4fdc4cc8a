"""MyoResponse: treatment response in inflammatory myopathy. This file has the versions of software and answers."""

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

__version__ = "0.1.0"
SOFTWARE = f"myoresponse {__version__}"
ANSWERS = 4
"""The form of the answers. It is raised when an answer to the same question says more or something else, so that nobody
keeps an older answer under its ETag. 4: every rate has its claim and count of all treated; a p below 1e-300 decides.
"""
COMMIT_FILE = Path(__file__).with_name("COMMIT")
"""Where a build writes the commit that it was made from. A working tree may differ from its commit, and has no file."""


@cache
def libraries() -> dict[str, str]:
    """The versions of the packages that numbers are computed with, as they are installed. None of them is imported."""
    return {name: version(name) for name in ("numpy", "scipy", "lifelines")}


@cache
def commit() -> str | None:
    """The commit that this software was built from; None where the build did not write one."""
    try:
        written = COMMIT_FILE.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return written if re.fullmatch(r"[0-9a-f]{7,64}", written) else None
