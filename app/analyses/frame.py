"""What every answer carries beside its results: populations, who was left out and why, flags, caveats, conventions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from app.analyses.codes import CAVEATS, EXCLUSIONS, FLAGS
from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.protocol.conventions import (
    Conventions,
    MedianConvention,
    Multiplicity,
    PlateauConvention,
    ProportionInterval,
    SignedRankP,
    SurvivalInterval,
    Zeros,
)
from app.protocol.model import Protocol
from app.protocol.parts import Part
from app.protocol.profiles import PROFILES, ProfileName, under_profile
from app.timeline.cohort import Bools

By = Literal["diagnosis", "sex"]


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


class AppliedProfile(Result):
    """The package whose documented defaults are in force, switch by switch."""

    name: ProfileName = Field(description="The package.", examples=["R"])
    set: tuple[str, ...] = Field(
        description="Conventions that are the package's defaults here; one that was asked for beside the profile is "
        "not among them.",
        examples=[["median", "interval"]],
    )
    unverified: tuple[str, ...] = Field(
        description="Of these, the ones that could be checked neither against the package nor its documentation.",
        examples=[[]],
    )
    not_offered: tuple[str, ...] = Field(
        description="Conventions that the package has no default for; they are as the protocol declares them.",
        examples=[[]],
    )


class Answer(Result):
    """The part of an answer that the question decides; the study, revision and provenance are added when it is sent."""

    analysis: str = Field(description="The question.", examples=["response-rates"])
    populations: Populations = Field(description="The populations.")
    by: str | None = Field(description="What subgroups were formed by; null for none.", examples=[None, "diagnosis"])
    level: float = Field(description="Confidence level of every interval.", examples=[0.95])
    conventions: Conventions = Field(description="The statistical conventions in force.")
    profile: AppliedProfile | None = Field(
        default=None,
        exclude_if=lambda profile: profile is None,
        description="The package whose defaults they are, where `profile` was asked for.",
        examples=[None],
    )
    definitions: tuple[Definition, ...] = Field(description="The definitions that all results share.", examples=[[]])
    excluded: tuple[Excluded, ...] = Field(description="Who was left out, counted by reason.", examples=[[]])
    flags: tuple[Flag, ...] = Field(description="What was noticed, counted.", examples=[[]])
    caveats: tuple[Caveat, ...] = Field(description="Reasons for caution.", examples=[[]])


def _true_or_false(value: object) -> object:
    """`true` or `false` of a query, and no other word for them."""
    return {"true": True, "false": False}.get(value, _NO_FLAG) if isinstance(value, str) else value


_NO_FLAG = object()
TrueOrFalse = Annotated[bool, BeforeValidator(_true_or_false)]


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
    signed_rank_p: SignedRankP | None = Field(
        default=None, description="Where the p of the signed-rank test comes from.", examples=["exact"]
    )
    profile: ProfileName | None = Field(
        default=None,
        description="Set every switch to the default that this package documents; a convention that is asked for "
        "beside it stands above it.",
        examples=["R"],
    )
    patients: TrueOrFalse = Field(
        default=False,
        description="List what each patient contributes beside the results. These have no such list: "
        "`baseline-table`, `ck-normal-groups`, `caveats`, `comparisons`, `repeated-measures`, `planning` and "
        "`what-is-missing`, which lists patients in any case.",
        examples=[False],
    )

    def conventions(self, declared: Conventions) -> Conventions:
        """The protocol's conventions, over them those of the profile, over them those that were asked for."""
        if self.profile is not None:
            declared = under_profile(declared, self.profile)
        asked = {name: value for name in Conventions.model_fields if (value := getattr(self, name)) is not None}
        return declared.model_copy(update=asked)

    def applied_profile(self) -> AppliedProfile | None:
        """What the profile has set, where one was asked for."""
        if self.profile is None:
            return None
        settings = {name: s for name, s in PROFILES[self.profile].items() if getattr(self, name) is None}
        return AppliedProfile(
            name=self.profile,
            set=tuple(settings),
            unverified=tuple(name for name, setting in settings.items() if not setting.checked),
            not_offered=tuple(name for name in Conventions.model_fields if name not in PROFILES[self.profile]),
        )


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
        "profile": options.applied_profile(),
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
    """One question: its name in the address, what it asks, the type of its answer and how it is answered.

    `options_type` names the options that it takes beside the common ones. The whole report answers the questions that
    are `in_report`; the others are asked for by name.
    """

    name: str
    title: str
    answer_type: type[Answer]
    ask: Callable[[DerivedStudy, Any], Answer]
    options_type: type[Options] = Options
    in_report: bool = False
