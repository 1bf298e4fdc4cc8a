"""The revisions of a study: find the revision that a request means, and list revisions."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, exists, func, select

from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.store.fact_tables import LATEST
from app.store.queries import Query, Row
from app.store.studies import study_key
from app.store.tables import erasures, revisions

_AT = Query(
    select(revisions.c.number, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number == bindparam("revision")
    ),
    "study",
    "revision",
)
_LATEST = Query(
    select(revisions.c.number, revisions.c.received_at)
    .where(revisions.c.study == bindparam("study"))
    .order_by(revisions.c.number.desc())
    .limit(1),
    "study",
)
_ERASED = Query(
    select(
        exists().where(
            erasures.c.study == bindparam("study"),
            erasures.c.first_revision <= bindparam("revision"),
            erasures.c.erased_revision > bindparam("revision"),
        )
    ),
    "study",
    "revision",
)
_ERASURES = Query(select(func.count()).select_from(erasures).where(erasures.c.study == bindparam("study")), "study")
_ALL = select(
    revisions.c.number, revisions.c.received_at, revisions.c.client, revisions.c.format, revisions.c.digest,
    revisions.c.counts, revisions.c.hash,
    exists().where(
        erasures.c.study == revisions.c.study,
        erasures.c.first_revision <= revisions.c.number,
        erasures.c.erased_revision > revisions.c.number,
    ),
).where(revisions.c.study == bindparam("study")).limit(bindparam("limit"))  # fmt: skip
_OLDEST_FIRST = Query(
    _ALL.where(revisions.c.number > bindparam("after")).order_by(revisions.c.number), "study", "after", "limit"
)
_NEWEST_FIRST = Query(
    _ALL.where(revisions.c.number < bindparam("after")).order_by(revisions.c.number.desc()), "study", "after", "limit"
)


@dataclass(frozen=True, slots=True)
class AsOf:
    """Which revision of a study a request means.

    It is given by its number, or by an instant in microseconds since 1970: then it is the last revision received until
    that instant. With neither, it is the latest revision.
    """

    revision: int | None = None
    received_by: int | None = None

    @property
    def latest(self) -> bool:
        """Whether the latest revision is meant."""
        return self.revision is None and self.received_by is None


AS_IT_STANDS = AsOf()


@dataclass(frozen=True, slots=True)
class RevisionPoint:
    """The revision that a request is answered from. `received_at` is in microseconds since 1970."""

    number: int
    received_at: int


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One accepted submission.

    If `erased` is true, the revision held a person who was erased since, so that it cannot be read any more.
    """

    number: int
    received_at: int
    client: str | None
    format: str
    digest: str
    counts: dict[str, int]
    hash: str
    erased: bool


def resolve(
    connection: Connection, study_id: str, at: AsOf = AS_IT_STANDS, *, now: int, though_erased: bool = False
) -> RevisionPoint:
    """The revision that a request means.

    Raises `NotFound` if there is none, `InvalidDocument` for an instant in the future, and `Erased` if the revision
    held a person who was erased since. With `though_erased`, it does not raise `Erased`.
    """
    if at.received_by is not None and at.received_by > now:
        raise InvalidDocument(faults=[Fault("as_of", FaultCode.FUTURE_TIME)])
    study = study_key(connection, study_id)
    found = _find(connection, study, at)
    if found is None:
        raise NotFound("The study has no such revision.")
    # The latest revision never holds an erased person: an erasure makes a new revision.
    if not (at.latest or though_erased) and (_ERASED.row(connection, study, found[0]) or (False,))[0]:
        raise Erased("This revision held a person who was erased since.")
    return RevisionPoint(found[0], found[1])


def latest_number(connection: Connection, study_id: str) -> int:
    """The number of the latest revision of a study."""
    row = _LATEST.row(connection, study_key(connection, study_id))
    return 0 if row is None else int(row[0])


def count_erasures(connection: Connection, study_id: str) -> int:
    """How often a person was erased from a study."""
    return int((_ERASURES.row(connection, study_key(connection, study_id)) or (0,))[0])


def list_revisions(
    connection: Connection,
    study_id: str,
    *,
    after: int | None = None,
    limit: int = 100,
    newest_first: bool = False,
) -> list[RevisionRecord]:
    """Revisions in ascending or descending order: at most `limit`, after the number `after`."""
    listed, begin = (_NEWEST_FIRST, LATEST) if newest_first else (_OLDEST_FIRST, -1)
    rows = listed.rows(connection, study_key(connection, study_id), begin if after is None else after, limit)
    return [
        RevisionRecord(number, at, client, format, digest.hex(), json.loads(counts), hashed.hex(), bool(erased))
        for number, at, client, format, digest, counts, hashed, erased in rows
    ]


def _find(connection: Connection, study: int, at: AsOf) -> Row | None:
    if at.revision is not None:
        return _AT.row(connection, study, at.revision) if 0 <= at.revision < LATEST else None
    latest = _LATEST.row(connection, study)
    if latest is None or at.received_by is None or latest[1] <= at.received_by:
        return latest
    return _last_received_by(connection, study, at.received_by, latest[0])


def _last_received_by(connection: Connection, study: int, instant: int, too_late: int) -> Row | None:
    """Search by halves among the numbers below `too_late`. Times never decrease, so no index of times is needed."""
    found, lowest = None, 0
    while lowest < too_late:
        middle = (lowest + too_late) // 2
        row = _AT.row(connection, study, middle)
        if row is not None and row[1] <= instant:
            found, lowest = row, middle + 1
        else:
            too_late = middle
    return found
