"""What the rules of a protocol say of one patient alone, from the facts of this patient."""

from pydantic import Field

from app.analyses.answer import Context, Definition, Options
from app.analyses.ck_normal.ck_normal_time import Spell, spells
from app.analyses.response_rates import Verdict, verdicts
from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.protocol.model import Protocol
from app.timeline.cohort import Cohort


class PatientResponse(Result):
    """What one response definition says of the patient."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    primary: bool = Field(description="Whether it is the primary rule of the measure.", examples=[True])
    verdict: Verdict = Field(description="Whether the patient responded, or why that is not known.")


class PatientVerdicts(Result):
    """Each verdict of the protocol about one patient. Nothing here depends on another patient."""

    responses: tuple[PatientResponse, ...] = Field(
        description="In the order of the protocol; empty for a record that was merged into another one.", examples=[[]]
    )
    ck_normal_time: Spell | None = Field(
        description="The time with normal CK; null for a record that was merged into another one."
    )


def patient_verdicts(cohort: Cohort, protocol: Protocol) -> PatientVerdicts:
    """The verdicts about the one person of a cohort. They are those that the answers list for this patient: a
    derivation of a patient uses the facts of this patient only.
    """
    if not len(cohort):
        return PatientVerdicts(responses=(), ck_normal_time=None)
    context = Context.of(DerivedStudy(cohort, protocol), Options(patients=True))
    [spell] = spells(context)
    responses = tuple(
        PatientResponse(
            measure=declared.rule.measure,
            definition=Definition.of_rule(declared.rule),
            primary=declared.primary,
            verdict=verdicts(context, declared.rule)[0],
        )
        for declared in protocol.responses
    )
    return PatientVerdicts(responses=responses, ck_normal_time=spell)
