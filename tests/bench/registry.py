"""The report of a study that is larger than memory should hold: its files, derived one batch after the other.

`python -m tests.bench.registry 10000 100000 1000000` prints a row for each number of patients: the curve.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.bulk import study_files
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from tests.bench.growth import MODELS, models, study_of
from tests.bench.loopback import ROOT
from tests.spark.studies import ORIGIN

PIECE = 10_000
SIZES = (10_000, 100_000)


def registry(sizes: Sequence[int] = SIZES) -> list[tuple[str, str, str]]:
    """Time and memory of `derive` for each number of patients with 100 results each, against the one before."""
    rows = []
    before: tuple[int, float] | None = None
    for size in sizes:
        seconds, memory, results, stored = _derived(size)
        grows = "-" if before is None else f"{math.log(seconds / before[1], size / before[0]):.2f}; asked: 1.05 at most"
        rows.append((
            f"`derive` of {size:,} patients with {results:,} CK results in files of {stored / 1e6:,.0f} MB "
            f"({seconds:,.0f} s of CPU)",
            "the size before" if before else "-",
            f"exponent {grows}; at most {memory / 1e6:,.0f} MB of memory",
        ))  # fmt: skip
        before = size, seconds
    return rows


def _derived(size: int) -> tuple[float, int, int, int]:
    """Seconds of CPU and the most bytes of memory of the command, and the number of results and bytes of the files."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "files"
        made = study_files.write(str(place), _pieces(size), ORIGIN, SEED_2008)
        stored = sum(file.stat().st_size for file in place.iterdir())
        command = [sys.executable, "-m", "app", "derive", "--input", str(place), "-o", f"{name}/report.json"]
        watched = [sys.executable, "-c", _WATCH, *command]
        told = subprocess.run(watched, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT, check=True).stdout
    seconds, kilobytes = told.split()
    return float(seconds), int(kilobytes) * 1024, made.values_sent["CK"], stored


_WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command and prints its seconds of CPU and its most kilobytes. Linux counts for a process also what that one
had which started it, so a small one has to.
"""
_ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1"}


def _pieces(size: int) -> Iterator[Cohort]:
    made = models()
    for first in range(0, size, PIECE):
        yield study_of(made, min(PIECE, size - first), first // MODELS)


if __name__ == "__main__":
    begun = time.perf_counter()
    for row in registry([int(each) for each in sys.argv[1:]] or SIZES):
        print(*row, sep=" | ", flush=True)
    print(f"{time.perf_counter() - begun:,.0f} s")
