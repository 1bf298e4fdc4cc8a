"""Two studies against each other: the patients of one and of another, judged by the same definitions."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field, create_model
from sqlalchemy import Connection

from app import SOFTWARE
from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, StudyComparison, study_comparison
from app.api.analyses import provenance
from app.api.dependencies import COMPUTES, IDENTIFIER, AsItStood, IfNoneMatch, Now, Parts, Point, StudyId
from app.api.documentation import NOT_MODIFIED, answers, reference, refuses
from app.api.replies import matches, tagged
from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.protocol.model import Protocol
from app.report.document import Header, frame, frame_model
from app.store import revisions, studies, timelines
from app.timeline.cohort import Cohort
from app.timeline.times import instant_text

router = APIRouter(tags=["analyses"], dependencies=[COMPUTES])


class OtherStudy(Header):
    """The other study: as it stood when, from what, and the protocol that it declares itself."""

    declared_protocol: str = Field(
        description="Digest of the protocol that the other study declares; the first study's was applied.",
        examples=["sha256:6f29e5f4..."],
    )


class AskedBetween(BetweenStudies):
    """The options of a comparison of two studies as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


OtherStudyId = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Identifier of the other study.", examples=["history"])
]
OtherRevision = Annotated[
    int | None,
    Query(
        ge=0,
        le=2**53 - 1,
        description="Read the other study at this revision; without it, as it stood at `as_of`, or as it stands now.",
        examples=[12],
    ),
]

DESCRIPTION = (
    "The rates, ratios and changes of one study against those of another, both judged by the first study's protocol. "
    "`revision` and `as_of` say at which revision the first study is read, `other_revision` says it of the other. The "
    "same revisions, protocol, options and version of the software give the same bytes and the same ETag."
)


@dataclass(frozen=True, slots=True)
class Place:
    """A study as it stood at one revision."""

    declared: studies.Study
    as_of: str

    @classmethod
    def of(cls, connection: Connection, study: str, at: AsItStood, now: int) -> "Place":
        """The study at the revision that is asked for."""
        point = revisions.resolve(connection, study, revision=at.revision, as_of=at.as_of, now=now)
        return cls(studies.get_study(connection, study, point.number), instant_text(point.received_at))

    @property
    def identity(self) -> tuple[str, int, str, str]:
        """What an answer about it depends on."""
        return self.declared.id, self.declared.revision, self.as_of, self.declared.protocol_digest

    def cohort(self, connection: Connection) -> Cohort:
        """Its patients."""
        return timelines.cohort(connection, self.declared.id, self.declared.revision)


@dataclass(frozen=True, slots=True)
class Side:
    """What is read of one study."""

    place: Place
    cohort: Cohort
    changed: bool | None
    """Whether its protocol was declared after its first outcome had arrived."""

    @classmethod
    def of(cls, connection: Connection, place: Place) -> "Side":
        """Its patients and what is known of its protocol."""
        study, revision = place.declared.id, place.declared.revision
        changed = studies.protocol_changed_after_first_outcome(connection, study, revision)
        return cls(place, place.cohort(connection), changed)

    @property
    def named(self) -> NamedCohort:
        """Its patients under its name."""
        return NamedCohort(self.place.declared.id, self.cohort)


@router.get(
    "/v1/studies/{study}/comparisons/{other}",
    operation_id="compareStudies",
    summary="Do two studies respond differently?",
    description=DESCRIPTION,
    responses={
        200: answers(
            "The comparison.",
            reference(
                create_model(
                    "StudyComparisonDocument",
                    __base__=frame_model(StudyComparison),
                    __doc__="Two studies side by side, the first against the other.",
                    other=(OtherStudy, Field(description="The other study.")),
                )
            ),
            "ETag",
        ),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def compare_studies(
    study: StudyId,
    other: OtherStudyId,
    parts: Parts,
    now: Now,
    at: Point,
    asked: Annotated[AskedBetween, Query()],
    other_revision: OtherRevision = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Both studies in one snapshot of the database. Nothing is kept: an answer about two studies would outlive an
    erasure in one of them.
    """
    if study == other:
        raise InvalidDocument(
            faults=[Fault("/path/other", FaultCode.CONTRADICTION, "A study is not compared with itself.")]
        )
    other_at = AsItStood(other_revision, at.as_of if other_revision is None else None)
    with parts.database.reading() as connection:
        first = Place.of(connection, study, at, now)
        second = Place.of(connection, other, other_at, now)
        tag = _tag([first, second], asked)
        if matches(if_none_match, tag):
            return tagged(b"", tag, if_none_match)
        sides = Side.of(connection, first), Side.of(connection, second)
    return tagged(_compared(*sides, asked), tag, None)


def _compared(first: Side, second: Side, asked: BetweenStudies) -> bytes:
    """The answer, with what both studies were read from."""
    protocol, digest = first.place.declared.protocol, second.place.declared.protocol_digest
    same = digest == first.place.declared.protocol_digest
    changed = second.changed
    if not same:  # the other study's patients are judged by definitions that it did not declare
        changed = len(second.cohort.labs) + len(second.cohort.assessments) > 0
    answer = study_comparison(first.named, second.named, protocol, asked, same_protocol=same)
    header = Header(**_header(first.place, first.cohort, protocol, first.changed))
    beside = OtherStudy(**_header(second.place, second.cohort, protocol, changed), declared_protocol=digest)
    return frame(header, answer, other=beside)


def _header(place: Place, cohort: Cohort, protocol: Protocol, changed: bool | None) -> dict[str, Any]:
    return {
        "study": place.declared.id,
        "revision": place.declared.revision,
        "as_of": place.as_of,
        "provenance": provenance(protocol, cohort, changed),
    }


def _tag(places: list[Place], asked: BetweenStudies) -> str:
    options = asked.model_dump(mode="json")
    parts = ["comparisons", *(place.identity for place in places), options, SOFTWARE]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'
