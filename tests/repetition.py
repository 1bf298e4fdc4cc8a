"""How often a test repeats itself: enough to prove what it says in each run, the full count by `make thorough`.

The profile of Hypothesis decides, so that one switch is for both kinds of repetition, drawn examples and loops:
`HYPOTHESIS_PROFILE=thorough` runs the full counts, `HYPOTHESIS_PROFILE=search` ten times as many new examples.
"""

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "daily")


def repeats(daily: int, thorough: int) -> int:
    """The count of the profile in force."""
    return {"daily": daily, "thorough": thorough, "search": 10 * thorough}[PROFILE]
