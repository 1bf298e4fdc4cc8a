"""Answers questions about a study at one revision: with 304, with an answer that is kept in memory, or with a new one.

Here are also the header of an answer and its provenance.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Response

from app import SOFTWARE
from app.analyses import Options
from app.analyses.answer_document import Header, Provenance
from app.http.openapi import JSON
from app.http.responses import etag_from, matches, tagged
from app.http.state import AppState
from app.protocol.model import Protocol
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.cohort import Cohort

Compute = Callable[[Header, Cohort, Protocol], bytes]


@dataclass(frozen=True, slots=True)
class StudyQuestion:
    """One question about a study at a revision; `protocol`, if given, replaces the protocol of the study."""

    name: str
    study: str
    at: AsOf
    options: Options
    protocol: Protocol | None = None


def answer_question(
    state: AppState, question: StudyQuestion, compute: Compute, if_none_match: str | None, media_type: str = JSON
) -> Response:
    """The answer: 304 if the client has it, else the kept answer, else a new answer, which is then kept."""
    erasures = state.answers.erasures(question.study)
    with study_at(state.database, question.study, question.at) as snapshot:
        protocol = question.protocol or snapshot.protocol
        tag = etag_from(question.name, *snapshot.tag(protocol), question.options.model_dump(mode="json"))
        body = b"" if matches(if_none_match, tag) else state.answers.get(tag)
        if body is not None:
            return tagged(body, tag, if_none_match, media_type)
        cohort = snapshot.cohort()
        changed = declared_after_first_outcome(snapshot, cohort, protocol)
    body = compute(header(snapshot, cohort, protocol, changed=changed), cohort, protocol)
    state.answers.keep(question.study, tag, body, erasures)
    return tagged(body, tag, None, media_type)


def declared_after_first_outcome(snapshot: StudyAt, cohort: Cohort, protocol: Protocol) -> bool:
    """Whether a protocol was declared after the first outcome of the study was received.

    A protocol that is not the study's own is declared by the question: now, after the first outcome if there is one.
    """
    if protocol.digest == snapshot.declared.protocol_digest:
        return snapshot.protocol_changed_after_first_outcome()
    return len(cohort.labs) + len(cohort.assessments) > 0


def header(snapshot: StudyAt, cohort: Cohort, protocol: Protocol, *, changed: bool) -> Header:
    """The header of an answer: the study, its revision, the instant of that revision, and the provenance."""
    return Header(
        study=snapshot.id,
        revision=snapshot.revision,
        as_of=snapshot.as_of,
        provenance=provenance(protocol, cohort, changed),
    )


def provenance(protocol: Protocol, cohort: Cohort, changed: bool | None) -> Provenance:
    """The digests of protocol and data, and the software, from which an answer is computed."""
    return Provenance(
        protocol=protocol.digest,
        protocol_id=protocol.id,
        protocol_changed_after_first_outcome=changed,
        data=cohort.digest,
        software=SOFTWARE,
    )
