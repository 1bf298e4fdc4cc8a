"""Two studies against each other: the patients of one and of another, judged by the same definitions."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field, create_model

from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, StudyComparison, study_comparison
from app.api.dependencies import COMPUTES, IDENTIFIER, At, IfNoneMatch, State, StudyId
from app.api.documentation import NOT_MODIFIED, answers, reference, refuses
from app.api.inquiries import header
from app.api.responses import etag_from, matches, tagged
from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.report.document import Header, frame, frame_model
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.columns import Cohort

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


Side = tuple[StudyAt, Cohort, bool]
"""A study, its patients, and whether its protocol was declared after its first outcome had arrived."""


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
    state: State,
    at: At,
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
    other_at = AsOf(other_revision, at.received_by if other_revision is None else None)
    with study_at(state.database, study, at) as first:
        second = first.beside(other, other_at)
        tag = etag_from("comparisons", _read(first), _read(second), asked.model_dump(mode="json"))
        if matches(if_none_match, tag):
            return tagged(b"", tag, if_none_match)
        sides = _side(first), _side(second)
    return tagged(_compared(*sides, asked), tag, None)


def _side(one: StudyAt) -> Side:
    return one, one.cohort(), one.protocol_changed_after_first_outcome()


def _compared(of_first: Side, of_second: Side, asked: BetweenStudies) -> bytes:
    """The answer, with what both studies were read from."""
    (first, cohort, changed), (second, other_cohort, other_changed) = of_first, of_second
    protocol, digest = first.protocol, second.declared.protocol_digest
    same = digest == first.declared.protocol_digest
    names = NamedCohort(first.id, cohort), NamedCohort(second.id, other_cohort)
    answer = study_comparison(*names, protocol, asked, same_protocol=same)
    beside = header(second, other_cohort, protocol, changed=other_changed)
    other = OtherStudy(**dict(beside), declared_protocol=digest)
    return frame(header(first, cohort, protocol, changed=changed), answer, other=other)


def _read(one: StudyAt) -> tuple[str, int, str, str]:
    return one.id, one.revision, one.as_of, one.declared.protocol_digest
