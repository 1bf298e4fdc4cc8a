"""The caveats about figures of one treated group: each with its finding in the data."""

from pydantic import Field

from app.analyses.answer import Answer, Basis, Context, Definition, Findings, Grouped, Question
from app.analyses.claims import description
from app.analyses.sensitivity.caveat_findings import SENTENCES, CaveatFinding, findings
from app.estimate.results import Number, Result, WhyNull


class Evidence(Result):
    """A number that a caveat finding uses."""

    name: str = Field(description="What it is.", examples=["share"])
    value: Number | None = Field(description="The number; null where it is not known.", examples=[0.013])


class CountedCaveat(Grouped):
    """One caveat, whether it applies to these data, and what was counted."""

    code: str = Field(
        description="Stable code: one of " + ", ".join(f"`{code}`" for code in SENTENCES) + ".",
        examples=["selection_on_baseline"],
    )
    measure: str | None = Field(
        default=None,
        exclude_if=lambda measure: measure is None,
        description="The measure, where the caveat is about one measure.",
        examples=["MMT"],
    )
    applies: bool | None = Field(
        description="Whether it applies; null where it is not known, for the `reason`.", examples=[True]
    )
    count: int | None = Field(description="Patients (values, tests, rules) to which it applies.", examples=[8])
    of: int | None = Field(description="Patients (values, tests, rules) in which it is known.", examples=[15])
    unknown: int = Field(description="Patients in whom it is not known.", examples=[1])
    definition: Definition = Field(description="The code, and the parameters of the judgement.")
    evidence: tuple[Evidence, ...] = Field(description="Further numbers that the finding uses.", examples=[[]])
    text: str = Field(
        description="The finding as a sentence.",
        examples=[SENTENCES["selection_on_baseline"].format(count=8, of=15)],
    )
    reason: WhyNull = None


class Caveats(Answer):
    """Reasons for caution, counted."""

    results: tuple[CountedCaveat, ...] = Field(
        description="One entry for each caveat (and measure, and subgroup), whether it applies or not.", examples=[[]]
    )


def caveats(context: Context) -> Findings:
    """The finding for every caveat, whether it applies or not."""
    rows = [_row(context, finding) for finding in findings(context)]
    return Findings({"results": rows}, claims=[description(int(context.study.safety.sum()), "reasons for caution")])


def _row(context: Context, finding: CaveatFinding) -> CountedCaveat:
    return CountedCaveat(
        group=context.group,
        code=finding.code,
        measure=finding.measure,
        applies=finding.applies,
        count=finding.count,
        of=finding.of,
        unknown=finding.unknown,
        definition=Definition(id=finding.code, parameters=dict(finding.parameters)),
        evidence=tuple(Evidence(name=name, value=value) for name, value in finding.evidence.items()),
        text=finding.text,
        reason=finding.reason,
    )


QUESTION = Question(
    "caveats",
    "What speaks against reading these figures as the effect of the treatment?",
    Caveats,
    caveats,
    lambda _: Basis(("uncontrolled_pre_post", "definitions_are_ours")),
)
