"""What a process computes for a request: plain functions of a `Workplace` and of values that can be sent to a process.

Everything here and all that it imports is loaded by worker processes, so nothing of it knows HTTP.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import to_json

from app import SOFTWARE
from app.access.work import AnswerOrigin, Workplace
from app.analyses import Options, answer, report
from app.analyses.answer_document import Header, Provenance, answer_json, report_document
from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, OtherStudy, study_comparison
from app.protocol.model import Protocol
from app.protocol.presets import differs_from_preset
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.cohort import Cohort

WHOLE = "analyses"
"""The name of the whole report among the questions."""


Compute = Callable[[Header, Cohort, Protocol], bytes]


@dataclass(frozen=True, slots=True)
class StudyQuestion:
    """One question about a study at a revision; `protocol`, if given, replaces the protocol of the study."""

    name: str
    study: str
    at: AsOf
    options: Options
    protocol: Protocol | None = None


def answer_bytes(name: str, options: Options, header: Header, cohort: Cohort, protocol: Protocol) -> bytes:
    """The answer to one question, or the whole report."""
    if name == WHOLE:
        return report_document(header, report(cohort, protocol, options))
    return answer_json(header, answer(name, cohort, protocol, options))


def answer_of_study(question: StudyQuestion, compute: Compute, place: Workplace) -> bytes:
    """What `compute` makes of the study. Nothing of the database is held while it computes."""
    _, answer = newest_of_study(question, compute, place)
    return answer


def newest_of_study(question: StudyQuestion, compute: Compute, place: Workplace) -> Iterator[bytes]:
    """The `AnswerOrigin` of the answer as soon as it is known, then the answer as before."""
    with study_at(place.database, question.study, question.at) as snapshot:
        protocol = question.protocol or snapshot.protocol
        yield AnswerOrigin(*snapshot.tag(protocol)).part()
        cohort = place.cohorts.cohort_of(snapshot)
        changed = declared_after_first_outcome(snapshot, cohort, protocol)
    yield compute(header(snapshot, cohort, protocol, changed=changed), cohort, protocol)


def answer_of_cohort(cohort: Cohort, protocol: Protocol, options: Options, place: Workplace) -> bytes:
    """The whole report on a cohort that is not stored."""
    del place
    head = Header(study=None, revision=None, as_of=None, provenance=provenance(protocol, cohort, None))
    return answer_bytes(WHOLE, options, head, cohort, protocol)


def calculation(calculate: Callable[[BaseModel], BaseModel], given: BaseModel, place: Workplace) -> bytes:
    """What a calculator gives, as JSON."""
    del place
    return to_json(calculate(given).model_dump(mode="json"), indent=2) + b"\n"


def comparison_of_studies(
    study: str, at: AsOf, other: str, other_at: AsOf, options: BetweenStudies, place: Workplace
) -> bytes:
    """The comparison of two studies, which are read in one snapshot of the database, with the provenance of both."""
    with study_at(place.database, study, at) as first:
        second = first.other_study(other, other_at)
        protocol, digest, own = first.protocol, second.declared.protocol_digest, first.declared.protocol_digest
        cohort, changed = _side(place, first, protocol)
        other_cohort, other_changed = _side(place, second, protocol)
    names = NamedCohort(first.id, cohort), NamedCohort(second.id, other_cohort)
    compared = study_comparison(*names, protocol, options, same_protocol=digest == own)
    other_header = header(second, other_cohort, protocol, changed=other_changed)
    shown = OtherStudy(**dict(other_header), declared_protocol=digest)
    return answer_json(header(first, cohort, protocol, changed=changed), compared, other=shown)


def _side(place: Workplace, study: StudyAt, protocol: Protocol) -> tuple[Cohort, bool]:
    """The cohort of a study, and whether the protocol in use was declared after its first outcome had arrived."""
    cohort = place.cohorts.cohort_of(study)
    return cohort, declared_after_first_outcome(study, cohort, protocol)


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
        differs_from_preset=differs_from_preset(protocol),
        protocol_changed_after_first_outcome=changed,
        data=cohort.digest,
        software=SOFTWARE,
    )
