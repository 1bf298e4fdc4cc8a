"""Answers to questions about a study at one revision: 304, an answer that is kept in memory, or a new computation."""

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
class Inquiry:
    """One question about a study at a revision; `instead` is a protocol that replaces the study's own."""

    name: str
    study: str
    at: AsOf
    options: Options
    instead: Protocol | None = None


def inquire(
    state: AppState, inquiry: Inquiry, compute: Compute, if_none_match: str | None, media_type: str = JSON
) -> Response:
    """The answer: 304 if the client has it, else the kept answer, else a new one, which is then kept."""
    erasures = state.answers.erasures(inquiry.study)
    with study_at(state.database, inquiry.study, inquiry.at) as found:
        protocol = inquiry.instead or found.protocol
        tag = etag_from(inquiry.name, *found.tag(protocol), inquiry.options.model_dump(mode="json"))
        body = b"" if matches(if_none_match, tag) else state.answers.get(tag)
        if body is not None:
            return tagged(body, tag, if_none_match, media_type)
        cohort = found.cohort()
        changed = declared_after_first_outcome(found, cohort, protocol)
    body = compute(header(found, cohort, protocol, changed=changed), cohort, protocol)
    state.answers.keep(inquiry.study, tag, body, erasures)
    return tagged(body, tag, None, media_type)


def declared_after_first_outcome(found: StudyAt, cohort: Cohort, protocol: Protocol) -> bool:
    """Whether a protocol was declared after the first outcome of the study had arrived.

    A protocol other than the study's own is declared by the question, that is now: after the first outcome, if any.
    """
    if protocol.digest == found.declared.protocol_digest:
        return found.protocol_changed_after_first_outcome()
    return len(cohort.labs) + len(cohort.assessments) > 0


def header(found: StudyAt, cohort: Cohort, protocol: Protocol, *, changed: bool) -> Header:
    """The head of an answer: the study, its revision, the instant of that revision, and the provenance."""
    return Header(
        study=found.id, revision=found.revision, as_of=found.as_of, provenance=provenance(protocol, cohort, changed)
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
