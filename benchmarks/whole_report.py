"""The whole report of a study from the store, against the same figures by pandas and lifelines on data in memory."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.analyses import Options, report
from app.analyses.answer_document import Header, Provenance, report_document
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.store import ledger, studies, timelines
from app.store.engine import Database
from app.store.migrations import upgrade
from app.timeline.times import latest_acceptable, microseconds
from benchmarks.pairs import Counts, Measured, Row, in_turn, took
from benchmarks.programs import program, python
from tests.bench.cohort import timeline
from tests.trust.figures import NotHere

ASKED = 50


def measure(counts: Counts, folder: Path) -> Measured:
    """Rows of SQLite to the bytes of the report; the peer groups, applies and estimates."""
    documents = [timeline(number) for number in range(counts.patients)]
    url = f"sqlite:///{folder / 'report.db'}"
    upgrade(url)
    database = Database(url)
    _load(database, documents)
    file = folder / "timelines.json"
    file.write_text(json.dumps(documents), encoding="utf-8")
    work = f"whole report, {counts.patients:,} patients x 100 results, from SQLite"
    try:
        ours = _report(database)
        with program(python("pandas_report.py", file)) as theirs:
            _same_figures(ours, theirs.once()[1])
            pairs = in_turn(counts.pairs, lambda: took(lambda: _report(database)), theirs.took)
            return Measured([Row("whole report: pandas", work, f"{theirs.name}, data already in memory", pairs, ASKED)])
    except NotHere as missing:
        peer = "pandas groupby-apply + lifelines, data already in memory"
        return Measured([Row("whole report: pandas", work, peer, asked=ASKED, skipped=str(missing))])
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
    with database.reading() as connection:
        study = studies.get_study(connection, "bench")
        cohort = timelines.cohort(connection, "bench", study.revision)
    provenance = Provenance(
        protocol=study.protocol_digest,
        protocol_id=study.protocol.id,
        protocol_changed_after_first_outcome=False,
        data=cohort.digest,
        software="bench",
    )
    header = Header(study="bench", revision=study.revision, as_of=None, provenance=provenance)
    return json.loads(report_document(header, report(cohort, study.protocol, Options())))


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
