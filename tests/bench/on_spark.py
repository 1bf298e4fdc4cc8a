"""Ten million results on a Spark cluster of this machine: one master, two workers, executors with little memory.

`python -m tests.bench.on_spark` prints the rows.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from app.protocol.presets import SEED_2008
from tests.bench.growth import models, study_of
from tests.spark import cluster as module
from tests.spark.studies import write

PATIENTS = 100_000
EXECUTOR_MEMORY = "600m"
RUNS = 3


def on_spark() -> list[tuple[str, str, str]]:
    """The report of 100,000 patients x 100 results by Spark against the same command in one process."""
    if (reason := module.why_not()) is not None:
        print(f"not measured on Spark: {reason}")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = study_of(models(), PATIENTS)
        files = write(folder / "files", cohort, SEED_2008)
        size = sum(file.stat().st_size for file in (folder / "files").iterdir())
        results = files.values_sent["CK"]
        del cohort
        here, there = [], []
        (folder / "cluster").mkdir()
        with module.cluster(folder / "cluster", "1g") as cluster:
            for _ in range(RUNS):
                here.append(_measured(_locally(folder)))
                memory = f"spark.executor.memory={EXECUTOR_MEMORY}"
                there.append(_measured(cluster.derive(str(folder / "files"), folder / "spark.json", memory)))
                if (folder / "spark.json").read_bytes() != (folder / "local.json").read_bytes():
                    raise AssertionError("the two reports differ")
        (mine, my_memory), (theirs, their_memory) = sorted(here)[RUNS // 2], sorted(there)[RUNS // 2]
        return [
            (
                f"`derive --engine spark`, {PATIENTS:,} patients with {results:,} CK results in {len(files.patients)} "
                f"files ({size / 1e6:,.0f} MB), two executors of one core and {EXECUTOR_MEMORY} ({theirs:.0f} s; the "
                f"driver {their_memory:,} MB)",
                f"`derive --engine local` ({mine:.0f} s, {my_memory:,} MB)",
                f"{theirs / mine:.2f} of its time; equal to the last byte, as asked",
            )
        ]


def _locally(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "derive", "--input", str(folder / "files"), "-o", str(folder / "local.json")],
        cwd=module.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _measured(process: subprocess.Popen) -> tuple[float, int]:
    """The seconds of a command, and the most megabytes of memory that its process had."""
    begin, most = time.perf_counter(), 0
    while process.poll() is None:
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            most = max(most, int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024)
        time.sleep(0.05)
    seconds, errors = time.perf_counter() - begin, process.communicate()[1]
    if process.returncode:
        raise RuntimeError(errors[-3000:])
    return seconds, most


if __name__ == "__main__":
    for row in on_spark():
        print(" | ".join(row))
