"""What every answer carries beside its results: populations, who was left out and why, flags, caveats, conventions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.protocol.model import (
    Conventions,
    MedianConvention,
    Multiplicity,
    Part,
    PlateauConvention,
    ProportionInterval,
    Protocol,
    SurvivalInterval,
    Zeros,
)
from app.timeline.columns import Bools

By = Literal["diagnosis", "sex"]

EXCLUSIONS: dict[str, str] = {
    "not_treated": "No infusion of the protocol's products was started.",
    "no_value_after_baseline": "No usable value after day 0.",
    "no_baseline": "No usable value on or before day 0.",
    "no_value_in_window": "Values after day 0, but none in the window that the definition looks at.",
    "normal_at_baseline": "CK was normal before treatment: it cannot become normal.",
    "baseline_normality_unknown": "CK at baseline has no upper limit, or a comparator hides whether it was normal.",
    "normality_unknown": "No CK after day 0 whose normality is known.",
    "never_normal": "CK was never seen normal after treatment.",
    "at_scale_maximum": "The score was at the best end of its scale before treatment: it cannot improve.",
    "zero_baseline": "A relative change from a baseline of 0 is undefined.",
    "zero_value": "A value of 0 has no logarithm.",
}
FLAGS: dict[str, str] = {
    "duplicate_draw": "Values of one day that gave way to another value of that day.",
    "day_0_post_dose": "Values of day 0 taken after the infusion began; they serve no window.",
    "after_death": "Values dated after the day of death; they are not used.",
    "scale_mismatch": "Scores on another scale than the protocol's; they are not used.",
    "utc_day": "Times written with Z while the study declares no time zone: the laboratory's day may be another.",
    "no_upper_limit": "CK values without an upper limit of normal; they cannot be called normal.",
    "borrowed_upper_limit": "CK values judged by the patient's nearest limit at the same laboratory.",
    "baseline_too_old": "Baselines older than the protocol likes; they are used.",
    "near_ceiling": "Patients whose baseline lies so near the best end that the rule can hardly be met.",
    "comparator": "Values known only as a bound; in logarithms `<x` counts as x/2 and `>x` as x.",
    "undetermined": "CK values whose normality is unknown, by a comparator or for want of an upper limit.",
    "other_product": "Infusions of products that the protocol does not name; they are no treatment.",
    "course_number_disagrees": "Patients with a course number that the gap rule contradicts; the gap rule decides.",
    "second_course": "Patients with a second course, an intercurrent event that `treatment_policy` ignores.",
    "ended_before_treatment": "Patients said to have left the study before their first infusion.",
    "onset_unknown": "Adverse events without onset; they count.",
    "relation_unknown": "Adverse events of unknown relation; they count as the protocol says.",
    "seriousness_unknown": "Adverse events not said to be serious or not.",
    "before_treatment": "Adverse events before the first infusion; they do not count.",
    "dose_not_convertible": "Prednisolone doses in a unit that is no daily dose; they are not used.",
}
CAVEATS: dict[str, str] = {
    "uncontrolled_pre_post": "A change in one treated group is not the effect of the treatment: time, other "
    "treatment and regression to the mean are in it.",
    "selection_on_baseline": "Patients enrolled because of their values before treatment fall back towards their "
    "mean; the before/after difference counts the error of the week-0 value twice.",
    "definitions_are_ours": "The definitions are those of the named protocol, not those of any published trial.",
    "best_of_many": "The best of several values is biased upwards; compare the same rule on the last value.",
    "conditioned_on_normalising": "Only patients whose CK became normal are in the risk set: a group formed after "
    "treatment.",
    "seen_at_visits_only": "CK is known only at draws: a spell may have ended up to one visit gap earlier.",
    "spontaneous_reports": "An adverse event that was not posted does not exist here.",
}


class Definition(Result):
    """A declared definition and the parameters that it was used with."""

    id: str = Field(description="Name of the definition.", examples=["points_above_baseline"])
    parameters: dict[str, Any] = Field(
        description="Its parameters.", examples=[{"points": 5, "days": [1, 59], "value": "best"}]
    )


class Populations(Result):
    """How many patients each population has."""

    all: int = Field(description="Patients of the study.", examples=[16])
    safety: int = Field(description="With at least one infusion started.", examples=[16])
    efficacy: int = Field(
        description="Of the safety set, with at least one usable CK, MMT, ADL or other measure of the protocol after "
        "day 0.",
        examples=[15],
    )


Group = Annotated[
    dict[str, str | None] | None,
    Field(
        description="The subgroup, where `by` was asked for; a value of null holds the patients who have none.",
        examples=[{"diagnosis": "polymyositis"}],
        exclude_if=lambda group: group is None,
    ),
]


class Grouped(Result):
    """Something that belongs to one subgroup where subgroups were asked for."""

    group: Group = None


class Contribution(Result):
    """What one patient contributes to a result."""

    patient: str = Field(description="Subject identifier.", examples=["P01"])


def not_listed(patients: object) -> bool:
    """Whether the patients were not asked for, so that the field is left out of the answer."""
    return patients is None


class Excluded(Grouped):
    """Patients left out of one estimate for one reason; with those included they add up to all of the group."""

    reason: str = Field(
        description="Why: one of " + ", ".join(f"`{code}`" for code in EXCLUSIONS) + ".", examples=["no_baseline"]
    )
    measure: str = Field(description="The measure whose estimate lacks them.", examples=["CK"])
    week: int | None = Field(
        default=None, exclude_if=lambda week: week is None, description="The week, where one is meant.", examples=[4]
    )
    definition: Definition | None = Field(
        default=None,
        exclude_if=lambda definition: definition is None,
        description="The rule, where a measure has several.",
    )
    estimate: str | None = Field(
        default=None,
        exclude_if=lambda estimate: estimate is None,
        description="Which estimate of the answer, where a measure has several.",
        examples=["ln", "raw", "time_normal", "time_to_first_normal"],
    )
    count: int = Field(description="How many patients.", examples=[1])


class Flag(Grouped):
    """Something that was noticed and counted, and did not leave a patient out by itself."""

    code: str = Field(
        description="What: one of " + ", ".join(f"`{code}`" for code in FLAGS) + ".", examples=["duplicate_draw"]
    )
    measure: str | None = Field(
        default=None,
        exclude_if=lambda measure: measure is None,
        description="The measure, where one is meant.",
        examples=["CK"],
    )
    count: int = Field(description="How many records, events or patients.", examples=[0])


class Caveat(Result):
    """A reason for caution that a machine can read."""

    code: str = Field(description="Stable code.", examples=["uncontrolled_pre_post"])
    text: str = Field(description="The same in a sentence.", examples=[CAVEATS["uncontrolled_pre_post"]])


class Answer(Result):
    """The part of an answer that the question decides; the study, revision and provenance are added when it is sent."""

    analysis: str = Field(description="The question.", examples=["response-rates"])
    populations: Populations = Field(description="The populations.")
    by: str | None = Field(description="What subgroups were formed by; null for none.", examples=[None, "diagnosis"])
    level: float = Field(description="Confidence level of every interval.", examples=[0.95])
    conventions: Conventions = Field(description="The statistical conventions in force.")
    definitions: tuple[Definition, ...] = Field(description="The definitions that all results share.", examples=[[]])
    excluded: tuple[Excluded, ...] = Field(description="Who was left out, counted by reason.", examples=[[]])
    flags: tuple[Flag, ...] = Field(description="What was noticed, counted.", examples=[[]])
    caveats: tuple[Caveat, ...] = Field(description="Reasons for caution.", examples=[[]])


class Options(Part):
    """What a question may be asked with; a convention that is left out is the protocol's."""

    level: float = Field(
        default=0.95, ge=0.5, le=0.9999, description="Confidence level of the intervals.", examples=[0.95]
    )
    by: By | None = Field(default=None, description="Form subgroups by this attribute.", examples=["diagnosis"])
    median: MedianConvention | None = Field(
        default=None, description="Median while the curve is exactly 0.5.", examples=["midpoint"]
    )
    plateau: PlateauConvention | None = Field(
        default=None, description="Median when the curve stays at 0.5 to the end.", examples=["left_end"]
    )
    interval: SurvivalInterval | None = Field(
        default=None, description="Scale of survival intervals.", examples=["log-log"]
    )
    zeros: Zeros | None = Field(default=None, description="Zeros in the signed-rank test.", examples=["drop"])
    proportion: ProportionInterval | None = Field(
        default=None, description="First interval of a proportion.", examples=["clopper-pearson"]
    )
    multiplicity: Multiplicity | None = Field(default=None, description="Adjustment over weeks.", examples=["holm"])

    patients: bool = Field(
        default=False,
        description="List what each patient contributes beside the results (the baseline table has no such list).",
        examples=[False],
    )

    def conventions(self, declared: Conventions) -> Conventions:
        """The protocol's conventions with those that were asked for put over them."""
        asked = {name: value for name in Conventions.model_fields if (value := getattr(self, name)) is not None}
        return declared.model_copy(update=asked)


@dataclass(slots=True)
class Findings:
    """Who was left out and what was flagged, collected over the subgroups."""

    excluded: list[Excluded] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Context:
    """One (sub)cohort to answer a question on."""

    study: DerivedStudy
    group: dict[str, str | None] | None
    level: float
    conventions: Conventions
    listed: bool = False

    @property
    def protocol(self) -> Protocol:
        """The declared definitions."""
        return self.study.protocol

    @property
    def ids(self) -> list[str]:
        """The identifiers of the patients, in the order of every derived row."""
        return [row.id for row in self.study.cohort.patients]

    @property
    def untreated(self) -> list[str]:
        """The reason of each patient who is not in the safety set, and the empty text of those who are."""
        return ["" if treated else "not_treated" for treated in self.study.safety]

    def excluded(
        self,
        reasons: Sequence[str],
        measure: str,
        week: int | None = None,
        definition: Definition | None = None,
        estimate: str | None = None,
    ) -> list[Excluded]:
        """The patients with a reason, counted, in the order of `EXCLUSIONS`; an empty reason is a patient included."""
        about = Excluded(
            group=self.group,
            reason="",
            measure=measure,
            week=week,
            definition=definition,
            estimate=estimate,
            count=0,
        )
        counts = {code: reasons.count(code) for code in EXCLUSIONS}
        return [about.model_copy(update={"reason": code, "count": count}) for code, count in counts.items() if count]

    def flags(self, counts: Mapping[str, int], measure: str | None = None) -> list[Flag]:
        """Counts as flags, in the order of `FLAGS`."""
        return [
            Flag(group=self.group, code=code, measure=measure, count=counts[code]) for code in FLAGS if code in counts
        ]


def contexts(study: DerivedStudy, options: Options) -> Iterator[Context]:
    """The study itself, or one part for each value of an attribute in code-point order, those without it last."""
    conventions = options.conventions(study.protocol.conventions)
    by = options.by
    if by is None:
        yield Context(study, None, options.level, conventions, options.patients)
        return
    values = [getattr(row, by) for row in study.cohort.patients]
    found = sorted({value for value in values if value is not None}) + ([None] if None in values else [])
    for value in found:
        part = DerivedStudy(study.cohort.select(_equal(values, value)), study.protocol)
        yield Context(part, {by: value}, options.level, conventions, options.patients)


def populations(study: DerivedStudy) -> Populations:
    """The sizes of the populations."""
    return Populations(all=len(study.cohort), safety=int(study.safety.sum()), efficacy=int(study.efficacy.sum()))


def shared(
    name: str,
    study: DerivedStudy,
    options: Options,
    found: Findings,
    caveat_codes: Sequence[str],
    definition: Definition | None = None,
) -> dict[str, Any]:
    """What every answer carries beside its results: the fields of `Answer`."""
    own = () if definition is None else (definition,)
    return {
        "analysis": name,
        "populations": populations(study),
        "by": options.by,
        "level": options.level,
        "conventions": options.conventions(study.protocol.conventions),
        "definitions": (*_common_definitions(study.protocol), *own),
        "excluded": tuple(found.excluded),
        "flags": tuple(found.flags),
        "caveats": tuple(Caveat(code=code, text=CAVEATS[code]) for code in caveat_codes),
    }


def _common_definitions(protocol: Protocol) -> tuple[Definition, ...]:
    """What all answers rest on: the treatment, the baseline, the visits, the scales, the upper limits."""
    parts: list[tuple[str, dict[str, Any]]] = [
        ("courses_by_gap", protocol.treatment.model_dump(mode="json")),
        ("last_on_or_before_day_0", protocol.baseline.model_dump(mode="json")),
        (f"visits_{protocol.visits.rule}", protocol.visits.model_dump(mode="json", exclude={"rule"})),
        ("scales", {name: scale.model_dump(mode="json") for name, scale in sorted(protocol.scales.items())}),
        (f"upper_limit_{protocol.upper_limit}", {}),
    ]
    return tuple(Definition(id=name, parameters=parameters) for name, parameters in parts)


def _equal(values: Sequence[str | None], value: str | None) -> Bools:
    return np.array([each == value for each in values], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name in the address, what it asks, the type of its answer and how it is answered."""

    name: str
    title: str
    answer_type: type[Answer]
    ask: Callable[[DerivedStudy, Options], Answer]
