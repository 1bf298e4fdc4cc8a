"""CONTRIBUTING names the files that each usual task touches; here an example of each task is looked for in the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "a lab analyte": r"\bALDOLASE\b",
    "a response criterion": r"\bPercentBetter\b",
    "a question": r"\bbaseline_table\b",
    "an interval method": r"\bjeffreys\b",
    "the baseline rule": r"\bflag_older_than_days\b",
    "a format": r"\b(store_table|read_table|store_sheets)\b",
    "a lab column": r"\blower_limit\b",
    "a parameter of all analyses": r"\bmultiplicity: Multiplicity\b|\bconventions\.multiplicity\b",
    "the text of a fault": r"This field is required",
    "a reason for leaving a patient out": r"\bDOSE_UNKNOWN\b",
}
"""For each task, by what something that was once added by it is found."""


def named_in_contributing() -> dict[str, set[str]]:
    """The files that the table of tasks names, by task."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[1].strip(): set(re.findall(r"`((?:app|alembic)/[\w./]+\.py)`", row[2])) for row in rows}


def touched(example: str) -> set[str]:
    """The files of the program and of the migrations in which an example stands."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in ("app", "alembic")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(example, path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("task", EXAMPLES)
def test_contributing_names_exactly_the_files_that_a_task_touches(task: str):
    assert named_in_contributing()[task] == touched(EXAMPLES[task])
