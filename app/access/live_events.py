"""The events of the revisions of a study, for clients that follow it.

An event holds numbers, times and kinds of facts, and nothing of a patient.
"""

from dataclasses import dataclass

from pydantic import Field
from pydantic_core import to_json

from app.access.study_changes import facts_of_step
from app.analyses.study_changes import ChangedFacts
from app.errors import NotFound
from app.estimate.results import Result
from app.store.engine import Database
from app.store.revisions import AsOf, RevisionRecord
from app.store.snapshot import study_at
from app.store.steps import RevisionStep
from app.store.worklist import SetAsideStep
from app.timeline.times import instant_text


class NewRevision(Result):
    """The data of the event `revision`: an accepted submission."""

    revision: int = Field(description="Its number.", examples=[17])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    protocol_changed: bool = Field(description="Whether it declared another protocol.", examples=[False])
    facts: tuple[ChangedFacts, ...] = Field(
        description="How many facts of each kind came to stand and ended.", examples=[[]]
    )


class SetAsideChange(Result):
    """The data of the event `set_aside`: a revision changed the worklist."""

    revision: int = Field(description="The revision.", examples=[17])
    added: int = Field(description="Items that it set aside.", examples=[2])
    ended: int = Field(description="Items that were mended, replaced or dismissed.", examples=[1])


class AnswerChange(Result):
    """The data of the event `answer_changed`: a revision changed what answers are computed from. Which figures moved is
    not computed here: `GET /v1/studies/{study}/changes` says so.
    """

    revision: int = Field(description="The revision.", examples=[17])
    data: bool = Field(description="Whether facts came to stand or ended.", examples=[True])
    protocol: bool = Field(description="Whether the protocol is another one.", examples=[False])


@dataclass(frozen=True, slots=True)
class Begin:
    """After which revision a client begins to follow, and which was the latest when it asked."""

    after: int
    latest: int


def events_of_study(database: Database, study: str, after: int, until: int) -> dict[int, bytes]:
    """The events of the revisions after `after`, up to `until`, by their numbers, as `text/event-stream`."""
    with study_at(database, study, AsOf(until), though_erased=True) as snapshot:
        records = snapshot.revisions(after=after, limit=until - after)
        steps, worklist = snapshot.steps(after=after), snapshot.set_aside_steps(after=after)
    return {
        record.number: _events(record, steps[record.number], worklist.get(record.number, SetAsideStep()))
        for record in records
    }


def beginning(database: Database, study: str, after: int | None) -> Begin:
    """Where to begin: after a given revision, or after the latest. Raises `NotFound` if the study has it not."""
    with study_at(database, study) as snapshot:
        latest = snapshot.revision
    if after is not None and after > latest:
        raise NotFound("The study has no such revision.")
    return Begin(latest if after is None else after, latest)


def _events(record: RevisionRecord, step: RevisionStep, worklist: SetAsideStep) -> bytes:
    """The events of one revision. The last one has its number as `id`, so that all come again if one was lost."""
    facts = facts_of_step(step)
    parts = []
    if worklist.added or worklist.ended:
        change = SetAsideChange(revision=record.number, added=worklist.added, ended=worklist.ended)
        parts.append(_event("set_aside", change))
    if facts or step.protocol:
        parts.append(
            _event("answer_changed", AnswerChange(revision=record.number, data=bool(facts), protocol=step.protocol))
        )
    new = NewRevision(
        revision=record.number,
        received_at=instant_text(record.received_at),
        format=record.format,
        protocol_changed=step.protocol,
        facts=facts,
    )
    return b"".join([*parts, _event("revision", new, record.number)])


def _event(name: str, data: Result, number: int | None = None) -> bytes:
    place = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{place}data: ".encode() + to_json(data.model_dump(mode="json")) + b"\n\n"
