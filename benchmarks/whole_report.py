"""The whole report of a study, from the rows of the store and from its segment, against the same figures by pandas and
lifelines on data in memory.
"""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from app.access.kept_cohorts import KeptCohorts
from app.access.study_answers import WHOLE, StudyQuestion, answer_bytes, answer_of_study
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
from benchmarks.pairs import Counts, Measured, Row, in_turn, took
from benchmarks.programs import program, python
from tests.bench.cohort import timeline
from tests.trust.figures import NotHere

ASKED = 50
MOST = 10**9


def measure(counts: Counts, folder: Path) -> Measured:
    """Rows of SQLite to the bytes of the report, then the segment that a service keeps beside them; the peer groups,
    applies and estimates.
    """
    documents = [timeline(number) for number in range(counts.patients)]
    url = f"sqlite:///{folder / 'report.db'}"
    upgrade(url)
    database = Database(url)
    _load(database, documents)
    file = folder / "timelines.json"
    file.write_text(json.dumps(documents), encoding="utf-8")
    work = f"whole report, {counts.patients:,} patients x 100 results, from "
    places = {"rows of SQLite": None, "its segment": Segments(folder / "segments", database.keys)}
    rows = []
    try:
        with program(python("pandas_report.py", file)) as theirs:
            known = theirs.once()[1]
            for place, segments in places.items():
                database.segments = segments
                _same_figures(_report(database), known)
                pairs = in_turn(counts.pairs, lambda: took(lambda: _report(database)), theirs.took)
                peer = f"{theirs.name}, data already in memory"
                rows.append(Row(f"whole report from {place}: pandas", work + place, peer, pairs, ASKED))
        return Measured(rows)
    except NotHere as missing:
        peer = "pandas groupby-apply + lifelines, data already in memory"
        names = [(f"whole report from {place}: pandas", work + place) for place in places]
        return Measured([Row(name, what, peer, asked=ASKED, skipped=str(missing)) for name, what in names])
    finally:
        database.dispose()


def _load(database: Database, documents: list[dict[str, Any]]) -> None:
    latest = latest_acceptable(datetime.now(UTC))
    now = microseconds(datetime.now(UTC))
    with database.writing() as connection:
        studies.put_study(
            connection,
            "bench",
            studies.StudyDeclaration(name="bench", protocol=SEED_2008),
            client=None,
            received_at=now,
        )
    histories = [read_timeline(json.dumps(document).encode(), latest) for document in documents]
    for first in range(0, len(histories), 100):
        with database.writing() as connection:
            ledger.submit_each(
                connection, "bench", histories[first : first + 100], format="native", client=None, received_at=now
            )


def _report(database: Database) -> dict[str, Any]:
    """The report as a process gives it that has kept nothing of the study in memory."""
    kept = KeptCohorts(MOST)
    question = StudyQuestion(WHOLE, "bench", AsOf(), Options())
    report = answer_of_study(question, partial(answer_bytes, WHOLE, Options()), Workplace(database, kept))
    kept.write_segments(database)
    return json.loads(report)


def _same_figures(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Both sides must have done the same work."""
    answers = ours["analyses"]
    primary = {row["measure"]: row["responders"] for row in answers["response-rates"]["results"] if row["primary"]}
    if primary != theirs["responders"]:
        raise SystemExit(f"responders differ: {primary} {theirs['responders']}")
    [spell] = answers["ck-normal-time"]["results"]
    if (spell["n"], spell["events"]) != (theirs["spells"], theirs["events"]):
        raise SystemExit("spells differ")
    [change] = answers["ck-change"]["results"]
    if change["n"] != theirs["change"]["n"] or abs(change["difference"]["mean"] - theirs["change"]["mean"]) > 1e-9:
        raise SystemExit("ck-change differs")
