"""What the whole database holds, as counts: for the operator, not for a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Connection, func, literal_column, select

from app.store.queries import Query
from app.store.tables import intake, revisions, studies
from app.timeline.receipts import Disposition


class CountedFacts(NamedTuple):
    """Which facts are counted together: `sender` says only whether the sender gave a name."""

    sender: Literal["named", "unnamed"]
    format: str
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class Totals:
    """How many studies and revisions there are, and what happened to the facts that were sent."""

    studies: int
    revisions: int
    facts: Mapping[CountedFacts, int]


_LATEST = (
    select(func.max(revisions.c.number)).where(revisions.c.study == studies.c.key).correlate(studies).scalar_subquery()
)
# Revisions of a study are numbered from 0 without a gap.
_STUDIES = Query(select(func.count(), func.coalesce(func.sum(_LATEST + 1), 0)).select_from(studies))
_NAMED = intake.c.sender != literal_column("''")
_FACTS = Query(
    select(_NAMED, intake.c.format, intake.c.subject, func.sum(intake.c.count)).group_by(
        _NAMED, intake.c.format, intake.c.subject
    )
)


def totals(connection: Connection) -> Totals:
    """The counts of the whole database. They cover all processes that write to it."""
    studies, revisions = _STUDIES.rows(connection)[0]
    facts = {
        CountedFacts("named" if named else "unnamed", format, Disposition(subject)): int(count)
        for named, format, subject, count in _FACTS.rows(connection)
        if subject in set(Disposition)
    }
    return Totals(studies, int(revisions), facts)
