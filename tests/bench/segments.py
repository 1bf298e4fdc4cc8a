"""A question after one new result, and one of a process that has just started, against the first question of all.

The first question reads all rows, without a segment and without a kept cohort: that is what every question cost before.
It is asked of this version, and of 0.1.0 with the same study. The report of 0.1.0 has fewer figures: no claims, tables
and flow of endpoints.
"""

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from app.access.kept_cohorts import KeptCohorts, size_of
from app.access.study_answers import WHOLE, StudyQuestion, answer_bytes, answer_of_study
from app.access.warming import warm
from app.access.work import Workplace
from app.analyses import Options
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.store import ledger, studies
from app.store.engine import Database
from app.store.migrations import upgrade
from app.store.revisions import AsOf
from app.store.segments import Segments
from app.timeline.times import latest_acceptable, microseconds
from tests.bench.cohort import timeline
from tests.bench.first_release import FirstQuestions, first_release
from tests.bench.loopback import ROOT

PATIENTS = 5_000
PAIRS = 5
MOST = 10**10
STUDY = "bench"


def segments(folder: Path, patients: int = PATIENTS) -> list[tuple[str, str, str]]:
    """Ratios of processor time, all sides on the same study."""
    url = f"sqlite:///{folder / f'segments-{patients}.db'}"
    database = _filled(url, patients)
    warm()
    with first_release(folder) as tree:
        first = None if tree is None else FirstQuestions(tree, folder / f"first-{patients}.db", patients)
        times = _measured(database, first)
        if first is not None:
            first.close()
    database.dispose()
    growth, columns = map(int, _alone(url).split())
    median = {name: statistics.median(taken) for name, taken in times.items()}
    study = f"{patients:,} patients x 100 results"
    first_question = f"the first question of this version ({median['rows']:.2f} s)"
    work = {
        "next": f"`ck-change` after one new result, {study} ({median['next']:.3f} s)",
        "cold": f"`ck-change` by a new process, from the segment ({median['cold']:.3f} s)",
        "next report": f"whole report after one new result, {study} ({median['next report']:.2f} s)",
    }
    rows = [
        (work["next"], first_question, _ratio(times, "next", "rows")),
        (work["cold"], first_question, _ratio(times, "cold", "rows")),
        (work["next report"], f"the first report of this version ({median['report']:.2f} s)",
         _ratio(times, "next report", "report")),
        (f"greatest growth of a new process that reads the segment ({growth / 1e6:.0f} MB)",
         f"the columns ({columns / 1e6:.0f} MB)", f"{growth / columns:.2f}"),
    ]  # fmt: skip
    if "ck-change of 0.1.0" not in times:
        return [*rows, (work["next"], "0.1.0", "skipped: this clone does not have its commit")]
    return [
        (work["next"], f"the first question of 0.1.0 ({median['ck-change of 0.1.0']:.2f} s)",
         f"{_ratio(times, 'next', 'ck-change of 0.1.0')}; asked: at most 0.05"),
        (work["next report"], f"the first report of 0.1.0 ({median['analyses of 0.1.0']:.2f} s), which has no claims, "
         "no paper tables and no second estimates",
         f"{_ratio(times, 'next report', 'analyses of 0.1.0')}; asked: at most 0.1"),
        *rows,
    ]  # fmt: skip


def _measured(database: Database, first: FirstQuestions | None) -> dict[str, list[float]]:
    """Seconds of the processor by what was asked, each side in turn. Stops if two ways give other bytes."""
    kept = KeptCohorts(MOST)
    _ask(database, kept, WHOLE)
    times: dict[str, list[float]] = defaultdict(list)
    for n in range(PAIRS):
        for name in ("ck-change", WHOLE) if first is not None else ():
            times[f"{name} of 0.1.0"].append(first.seconds(name))
        database.segments = None
        times["rows"].append(_seconds(partial(_ask, database, KeptCohorts(MOST), "ck-change")))
        times["report"].append(_seconds(partial(_ask, database, KeptCohorts(MOST), WHOLE)))
        database.segments = _files(database)
        times["cold"].append(_seconds(partial(_ask, database, KeptCohorts(MOST), "ck-change")))
        _one_result(database, 2 * n)
        times["next"].append(_seconds(partial(_ask, database, kept, "ck-change")))
        _one_result(database, 2 * n + 1)
        times["next report"].append(_seconds(partial(_ask, database, kept, WHOLE)))
    same = {_ask(database, each, WHOLE) for each in (kept, KeptCohorts(MOST))}
    database.segments = None
    if len(same | {_ask(database, KeptCohorts(MOST), WHOLE)}) != 1:
        raise SystemExit("the answers differ")
    return times


def _ratio(times: dict[str, list[float]], one: str, other: str) -> str:
    ratio = statistics.median(mine / peer for mine, peer in zip(times[one], times[other], strict=True))
    return f"{ratio:.3f}"


def _files(database: Database) -> Segments:
    name = database.engine.url.database or ""
    return Segments(Path(f"{name}.segments"), database.keys)


def _ask(database: Database, kept: KeptCohorts, name: str) -> bytes:
    question = StudyQuestion(name, STUDY, AsOf(), Options())
    return answer_of_study(question, partial(answer_bytes, name, Options()), Workplace(database, kept))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _filled(url: str, patients: int) -> Database:
    """The study, and its segment."""
    path = Path(url.removeprefix("sqlite:///"))
    known = path.exists()
    upgrade(url)
    database = Database(url)
    if not known:
        _fill(database, patients)
    database.segments = _files(database)
    kept = KeptCohorts(MOST)
    _ask(database, kept, "ck-change")
    kept.write_segments(database)
    return database


def _fill(database: Database, patients: int) -> None:
    latest, now = latest_acceptable(datetime.now(UTC)), microseconds(datetime.now(UTC))
    with database.writing() as connection:
        declared = studies.StudyDeclaration(name=STUDY, protocol=SEED_2008)
        studies.put_study(connection, STUDY, declared, client=None, received_at=now)
    for first in range(0, patients, 500):
        histories = [read_timeline(json.dumps(timeline(n)).encode(), latest) for n in range(first, first + 500)]
        with database.writing() as connection:
            ledger.submit_each(connection, STUDY, histories, format="native", client=None, received_at=now)


def _one_result(database: Database, number: int) -> None:
    labs = [{"code": "CK", "unit": "U/L", "time": "2016-03-01", "value": 500 + number, "id": f"late-{number}"}]
    document = {"patient": {"id": f"P{number:06d}"}, "labs": labs}
    history = read_timeline(json.dumps(document).encode(), latest_acceptable(datetime.now(UTC)))
    now = microseconds(datetime.now(UTC))
    with database.writing() as connection:
        ledger.submit_each(connection, STUDY, [history], format="native", client=None, received_at=now)


def _alone(url: str) -> str:
    """The growth of a process of its own, and the size of the columns, in bytes."""
    code = f"import sys; from tests.bench.segments import grow; grow({url!r})"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def grow(url: str) -> None:
    """Read the columns from the segment, and print by how much the process has grown at most, and their size."""
    import pyarrow  # noqa: F401 - it is code, not columns

    from app.store.snapshot import study_at

    database = Database(url)
    database.segments = _files(database)
    before = _anonymous_peak()
    with study_at(database, STUDY) as snapshot:
        cohort = snapshot.cohort()
    print(_anonymous_peak() - before, size_of(cohort))
    database.dispose()


def _anonymous_peak() -> int:
    """The greatest memory of this process until now, in bytes; pages of mapped files count."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
