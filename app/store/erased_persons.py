"""Who is erased: what the service asks again and again while it runs."""

from sqlalchemy import Connection, bindparam, func, select

from app.store.queries import Query
from app.store.tables import erasures, studies

_OPEN_ERASURES = Query(
    select(erasures.c.tombstone)
    .join_from(erasures, studies, studies.c.key == erasures.c.study)
    .where(studies.c.id == bindparam("study"), erasures.c.readmitted_revision.is_(None)),
    "study",
)
_LATEST = Query(
    select(studies.c.id, func.max(erasures.c.erased_revision))
    .join_from(erasures, studies, studies.c.key == erasures.c.study)
    .group_by(studies.c.id)
)


def open_erasures(connection: Connection, study_id: str) -> list[bytes]:
    """The hashes of all persons who are erased from a study and were not stored again."""
    return [bytes(row[0]) for row in _OPEN_ERASURES.rows(connection, study_id)]


def latest_erasures(connection: Connection) -> dict[str, int]:
    """The last revision of each study that erased a person."""
    return dict(_LATEST.rows(connection))
