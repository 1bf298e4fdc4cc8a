"""The first release, 0.1.0, in a checkout and a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import cohort
from tests.bench.loopback import ROOT

FIRST_RELEASE = "f24ad30"
"""The commit of 0.1.0."""
SERVE_QUESTIONS = """
import json, runpy, sys, time
from datetime import UTC, datetime
from types import SimpleNamespace

from app.api.analyses import Inquiry, inquire
from app.api.dependencies import AsItStood
from app.api.service import Answers
from app.api.warm import warm
from app.analyses import Options
from app.ingest.native import read_timeline
from app.protocol.presets import SEED_2008
from app.store import ledger, studies
from app.store.engine import Database
from app.store.migrations import upgrade
from app.timeline.moments import latest_acceptable

url, cohort, patients = sys.argv[1], sys.argv[2], int(sys.argv[3])
upgrade(url)
database, instant = Database(url), datetime.now(UTC)
now = int(instant.timestamp() * 1e6)
timeline, latest = runpy.run_path(cohort)["timeline"], latest_acceptable(instant)
with database.writing() as connection:
    study = studies.StudyDefinition(name="bench", protocol=SEED_2008)
    studies.put_study(connection, "bench", study, client=None, received_at=now)
for first in range(0, patients, 500):
    histories = [read_timeline(json.dumps(timeline(n)).encode(), latest) for n in range(first, first + 500)]
    with database.writing() as connection:
        ledger.submit_each(connection, "bench", histories, format="native", client=None, received_at=now)
warm()
print("ready", flush=True)
for line in sys.stdin:
    service = SimpleNamespace(database=database, answers=Answers(1))  # nothing is kept from the question before
    asked = Inquiry(line.strip(), "bench", AsItStood(None, None), Options())
    begin = time.process_time()
    body = inquire(service, asked, now + 1, None).body
    assert len(body) > 1000
    print(time.process_time() - begin, flush=True)
"""


@contextmanager
def first_release(folder: Path) -> Iterator[Path | None]:
    """A checkout of 0.1.0, or nothing if this clone does not have its commit."""
    tree = folder / "first-release"
    made = subprocess.run(
        ["git", "worktree", "add", "--detach", str(tree), FIRST_RELEASE], cwd=ROOT, capture_output=True, check=False
    )
    if made.returncode:
        yield None
        return
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


class FirstQuestions:
    """A process of 0.1.0 with the study of `cohort.timeline`. It has nothing of an earlier question at hand."""

    def __init__(self, tree: Path, database: Path, patients: int) -> None:
        command = [sys.executable, "-c", SERVE_QUESTIONS, f"sqlite:///{database}", cohort.__file__, str(patients)]
        self._process = subprocess.Popen(command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise SystemExit("0.1.0 does not start")

    def seconds(self, question: str) -> float:
        """Seconds of its processor that it needs for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
