"""`python -m benchmarks [--quick] [part ...]`: MyoResponse beside others, printed as each part is done.

A run of all parts writes `results.md` and `results.svg` and adds a line to `history.ndjson`, beside this file. A quick
run, or one of some parts, writes nothing.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import derivation, fhir_bundle, interval_censored, posting, results, shared_load, whole_report
from benchmarks.pairs import FULL, QUICK, Counts, Loaded, Measured, Row

HERE = Path(__file__).parent
PARTS: dict[str, Callable[[Counts, Path], Measured]] = {
    module.__name__.rsplit(".", 1)[1]: module.measure
    for module in (posting, fhir_bundle, whole_report, derivation, interval_censored, shared_load)
}


def main(arguments: list[str], to: Path = HERE) -> int:
    """Measure, print, compare with the history, write."""
    counts = QUICK if "--quick" in arguments else FULL
    names = [each for each in arguments if not each.startswith("-")]
    if unknown := set(names) - set(PARTS):
        print(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
        return 2
    rows, loads = measured(names or list(PARTS), counts)
    page = results.page(rows, loads, counts.pairs)
    print(page)
    if counts is FULL and not names:
        record(rows, loads, page, to)
    return 0


def measured(names: list[str], counts: Counts) -> tuple[list[Row], list[Loaded]]:
    """The parts one after the other; what was not measured is printed at once."""
    rows: list[Row] = []
    loads: list[Loaded] = []
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](counts, Path(folder))
        rows += found.rows
        loads += found.loads
        for missing in {row.skipped for row in found.rows if row.skipped}:
            print(f"{name}: SKIPPED, {missing}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows, loads


def record(rows: list[Row], loads: list[Loaded], page: str, to: Path) -> None:
    """Write the table and the picture; add to the history, and say what became worse."""
    (to / "results.md").write_text(page, encoding="utf-8")
    (to / "results.svg").write_text(results.picture(rows), encoding="utf-8")
    now, file = results.entry(rows, loads), to / "history.ndjson"
    print(*results.worse(now, results.read_history(file)), sep="\n")
    with file.open("a", encoding="utf-8") as history:
        history.write(json.dumps(now, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
