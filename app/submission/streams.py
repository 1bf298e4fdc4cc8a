"""Stores a stream of timelines, one on each line, in groups; each line has its outcome."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from app.readers.budget import restart_time
from app.readers.gc_pause import gc_paused
from app.readers.json_timelines import Item, read_item
from app.readers.streams import Line
from app.store import studies
from app.store.engine import Database
from app.submission import loop
from app.submission.batches import ItemOutcome, ItemStatus, content_of, facts_of, outcome_of
from app.submission.exports import Exports
from app.submission.native_patients import NativePatients
from app.timeline.receipts import Disposition
from app.timeline.times import latest_acceptable, microseconds

GROUP_BYTES = 1_000_000
"""Size in bytes at which a group is full, even if it has few lines."""


class LineGroup:
    """Collects the lines of one transaction."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._bytes = 0

    def add(self, line: Line) -> bool:
        """Add a line. Returns whether the group is full."""
        self.lines.append(line)
        self._bytes += len(line.text or b"")
        return len(self.lines) == loop.GROUP or self._bytes >= GROUP_BYTES

    def take(self) -> list[Line]:
        """The lines of the group; a new group begins."""
        lines, self.lines, self._bytes = self.lines, [], 0
        return lines


class Stream:
    """A stream of timelines of at most `longest` bytes. `counts` has the number of outcomes of each status so far,
    `facts` the number of facts of each disposition.

    `secret` replaces numbers of patients. `full`: as of `Submitter`. `moved_from`: as of `Exports`.
    """

    def __init__(
        self,
        database: Database,
        study: str,
        format: str,
        longest: int,
        *,
        secret: str | None = None,
        client: str | None = None,
        full: bool = False,
        moved_from: str | None = None,
    ) -> None:
        self.longest = longest
        self.exports = Exports(database, study, secret, moved_from)
        self._secret = secret
        self.counts: Counter[ItemStatus] = Counter()
        self.facts: Counter[Disposition] = Counter()
        self._submitter = loop.Submitter(database, study, format, 0, client=client, pauses=loop.PAUSES, full=full)

    def check_study(self) -> None:
        """Raise `NotFound` for an unknown study, so that a client need not send the whole stream first."""
        with self._submitter.database.reading() as transaction:
            studies.study_key(transaction, self._submitter.study)

    def store(self, lines: Sequence[Line]) -> list[ItemOutcome]:
        """Read and store a group of lines. Returns the outcome of each, in their order, after COMMIT.

        The first lines of `exports` are no timelines: `exports.timelines` takes them out before.

        While the database is busy, the group is tried again a few times. Then this group and all later ones are
        skipped. If it is the first group, `Busy` is raised instead. Raises `NotFound` for an unknown study.
        """
        with gc_paused():
            outcomes = self._store(lines)
        self.counts.update(outcome.status for outcome in outcomes)
        self.facts.update(facts_of(outcomes))
        return outcomes

    def _store(self, lines: Sequence[Line]) -> list[ItemOutcome]:
        restart_time()
        now = datetime.now(UTC)
        self._submitter.received_at = microseconds(now)
        latest = latest_acceptable(now)
        submitter = self._submitter
        patients = NativePatients(submitter.database, submitter.study, self._secret, submitter.received_at)
        patients.made_with = self.exports.made_with
        refused = self.exports.refused
        items = [
            Item(i, None, refused[line.number])
            if line.number in refused
            else read_item(i, line.text, latest, self.longest, patients.who)
            for i, line in enumerate(lines, self.counts.total())
        ]
        results = submitter.group([content_of(item) for item in items], partial(patients.add_each, submitter))
        return [outcome_of(item.index, item.subject, each) for item, each in zip(items, results, strict=True)]
