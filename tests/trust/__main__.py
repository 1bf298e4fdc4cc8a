"""`python -m tests.trust [--fast] [harness ...]`: run the proofs, write `docs/trust.md`.

Each run replaces the record of the harnesses that it ran, so that a single one can be repeated. A harness whose promise
is broken keeps its old record, is printed, and makes the exit code 1.
"""

import json
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from tests.trust import harnesses
from tests.trust.figures import PROMISES, NotHere

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
RECORD = Path(__file__).with_name("measured.json")
HEAD = """# What is promised, and how it is tested

Written by `make trust`. Each section has a promise, the mechanism that keeps it, how the promise was tested, and what
was counted or measured, with its date. A count of faults that were injected says how often it was tried; it does not
prove that no other fault exists. `make test` repeats each test with smaller counts.
"""


def main(arguments: list[str]) -> int:
    """Run, record, write the page."""
    fast, names = "--fast" in arguments, [each for each in arguments if not each.startswith("-")]
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    chosen = {name: module for name, module in harnesses().items() if not names or name in names}
    broken = []
    for name, harness in chosen.items():
        began = time.monotonic()
        try:
            entry = _entry(harness, full=not fast)
        except Exception:  # a broken promise, of which the others know nothing
            traceback.print_exc()
            broken.append(name)
            continue
        record[name] = entry
        print(f"{name}: {time.monotonic() - began:.0f} s", *entry["figures"], sep="\n  ", flush=True)
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")
    print(f"broken: {', '.join(broken) or 'none'}")
    return bool(broken)


def _entry(harness: ModuleType, full: bool) -> dict:
    entry = {"date": datetime.now(UTC).date().isoformat(), "counts": "full" if full else "fast"}
    try:
        return entry | {"figures": [[each.promise, each.what, each.value] for each in harness.run(full)]}
    except NotHere as missing:
        return entry | {"figures": [], "not_run": str(missing)}


def page(record: dict) -> str:
    """The page for all that is recorded of the harnesses that exist."""
    sections = [HEAD]
    docs = {name: " ".join((module.__doc__ or "").split()) for name, module in harnesses().items()}
    record = {name: entry for name, entry in sorted(record.items()) if name in docs}
    for promise, (says, mechanism) in PROMISES.items():
        rows = [
            (name, what, value) for name, each in record.items() for of, what, value in each["figures"] if of == promise
        ]
        if not rows:
            continue
        names = list(dict.fromkeys(name for name, _, _ in rows))
        sections.append(f"## {promise}. {says}\n\nMechanism: {mechanism}\n")
        sections.extend(f"Tested by `tests/trust/{name}.py`: {docs[name]}\n" for name in names)
        sections.append("| counted or measured | figure | counts | date |\n| --- | --- | --- | --- |")
        sections.extend(
            f"| {what} | {value} | {record[name]['counts']} | {record[name]['date']} |" for name, what, value in rows
        )
        sections.append("")
    not_run = [(name, each["not_run"]) for name, each in record.items() if "not_run" in each]
    if not_run:
        sections.append("## Not run\n")
        sections.extend(f"- `{name}`: {why}" for name, why in not_run)
        sections.append("")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
