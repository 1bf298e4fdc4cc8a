"""How often a test repeats itself: enough to prove what it says in each run, the full count by `make thorough`.

The profile of Hypothesis decides, so that one switch is for both kinds of repetition, drawn examples and loops:
`HYPOTHESIS_PROFILE=thorough` runs the full counts, `HYPOTHESIS_PROFILE=search` ten times as many new examples, and
`HYPOTHESIS_PROFILE=quick`, which is that of `make check`, a quarter of the daily ones.
"""

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "daily")


def repeats(daily: int, thorough: int | None = None) -> int:
    """The count of the profile in force; the full count is the daily one where no other is given."""
    full = daily if thorough is None else thorough
    return {"quick": -(-daily // 4), "daily": daily, "thorough": full, "search": 10 * full}[PROFILE]
