"""How a question becomes an answer: it is asked of each (sub)group, and the part that all answers share is added.

The shared part says how many patients there are, who was left out and why, what was flagged, and by which conventions
and definitions the results were computed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self, TypedDict, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.protocol.conventions import (
    PROFILES,
    Conventions,
    MedianConvention,
    Multiplicity,
    PlateauConvention,
    ProfileName,
    ProportionInterval,
    SignedRankP,
    SurvivalInterval,
    Zeros,
    under_profile,
)
from app.protocol.endpoints import ResponseRule
from app.protocol.model import Protocol
from app.protocol.parts import Part
from app.timeline.cohort import Bools

By = Literal["diagnosis", "sex"]
OwnOptions = TypeVar("OwnOptions", bound="Options")

CAVEATS: dict[str, str] = {
    "uncontrolled_pre_post": "A change in one treated group is not the effect of the treatment: time, other "
    "treatment and regression to the mean are in it.",
    "selection_on_baseline": "Patients enrolled because of their values before treatment fall back towards their "
    "mean; the before/after difference counts the error of the week-0 value twice.",
    "definitions_are_ours": "The definitions are those of the named protocol, not those of any published trial.",
    "many_definitions": "Many definitions were tried on the same patients: the declared one is the result, the others "
    "show how much hangs on it, and the best of them is no finding.",
    "best_of_many": "The best of several values is biased upwards; compare the same rule on the last value.",
    "conditioned_on_normalising": "Only patients whose CK became normal are in the risk set: a group formed after "
    "treatment.",
    "rescue_ignored": "The protocol declares another strategy for further treatment; this estimate ignores further "
    "treatment and goes on, as under `treatment_policy`.",
    "start_seen_late": "A spell is taken to begin at its first normal CK; it may have begun up to one visit gap "
    "earlier, and its time is short by as much (see the bounds).",
    "visits_not_random": "An interval-censored estimate takes it that draws were made without regard to CK; a draw "
    "made because of a relapse biases it.",
    "resampling_is_approximate": "Percentile limits of an interval-censored median are approximate and, in small "
    "groups and with irregular visits, rather too narrow.",
    "seen_at_visits_only": "CK is known only at draws: a spell may have ended up to one visit gap earlier.",
    "planned_from_observed": "Rates and deviations observed in few patients are uncertain, and so is what is planned "
    "with them; a size for the very difference that was observed says nothing beyond its p value.",
    "enzyme_ranges_unverified": "The range by which the fall of an enzyme is divided is a parameter of the protocol "
    "without a verified source; the enzyme moves the score by at most 7.5 points.",
    "incomplete_visits": "A visit that lacks a core set measure has bounds and no verdict of its own where they "
    "disagree: a rate is of complete visits, and the counts that the bounds allow stand beside it; or it is of all "
    "patients seen, and null between two bounds where they disagree.",
    "response_seen_at_visits": "A response or worsening is seen at visits only: it may have begun up to one visit gap "
    "earlier.",
    "events_not_independent": "An exact Poisson interval takes the events of a patient for independent of each other, "
    "which they seldom are; the clustered interval beside it does not.",
    "courses_not_independent": "Courses of one patient are alike; the clustered interval counts patients, the others "
    "count each course as if it were another patient's.",
    "later_courses_selected": "A later course is given to patients who responded and lost it, or who did not respond: "
    "how they do says little of a second course for everybody.",
    "spontaneous_reports": "An adverse event that was not posted does not exist here.",
    "not_randomised": "Nobody was assigned to these groups: what differs between them may be who is in them, not how "
    "they respond.",
    "many_comparisons": "Every rule, measure and pair of groups is a test of its own; p values are adjusted over the "
    "weeks of a measure at most.",
    "few_events": "A group with fewer than 10 events has hardly a median, and its hazard ratio hardly an interval: "
    "that no difference is found is no sign that there is none.",
    "cause_specific_hazards": "Under `competing` the log-rank test and the hazard ratios compare the rates of abnormal "
    "CK among those still alive and without rescue; they say nothing of how many will ever become abnormal.",
    "small_counts": "A group of fewer than 20 patients says little: that no difference is found is no sign that there "
    "is none.",
    "other_protocol": "The other study declares another protocol; the first study's definitions were applied to both.",
    "patients_may_overlap": "A patient who is in both studies counts in both: pseudonyms cannot be compared.",
    "compound_symmetry": "The model assumes that any two visits of a patient correlate alike; visits far apart seldom "
    "do.",
    "no_small_sample_correction": "Standard errors take the variances as known, without the correction of Kenward and "
    "Roger: for few patients the intervals are too narrow.",
    "missing_at_random": "The model assumes that whether a value is missing depends on the values seen only.",
}


class Definition(Result):
    """A declared definition and the parameters that it was used with."""

    id: str = Field(description="Name of the definition.", examples=["points_above_baseline"])
    parameters: dict[str, Any] = Field(
        description="Its parameters.", examples=[{"points": 5, "days": [1, 59], "value": "best"}]
    )

    @classmethod
    def of_rule(cls, rule: ResponseRule) -> Self:
        """A response rule; its measure stands beside it in every answer."""
        return cls(id=rule.id, parameters=rule.model_dump(mode="json", exclude={"id", "measure"}))


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
        description="Why: one of " + ", ".join(f"`{code}`" for code in ExclusionReason) + ".", examples=["no_baseline"]
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
        description="What: one of " + ", ".join(f"`{code}`" for code in FlagCode) + ".", examples=["duplicate_draw"]
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


@dataclass(frozen=True, slots=True)
class Findings:
    """What a question finds in one (sub)group.

    `results` holds the rows of each list of the answer by the name of its field. `caveats` and `fields` (such as a
    count) are those of the whole answer that depend on what was found.
    """

    results: Mapping[str, Sequence[Result]] = field(default_factory=dict)
    excluded: Sequence[Excluded] = ()
    flags: Sequence[Flag] = ()
    caveats: Sequence[str] = ()
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer says once, whatever the subgroups: its caveats, its definition, and `fields` of its own."""

    caveats: Sequence[str] = ()
    definition: Definition | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


class CurveConventions(TypedDict):
    """The parameters that every estimate of a survival curve takes."""

    level: float
    interval: SurvivalInterval
    median: MedianConvention
    plateau: PlateauConvention


@dataclass(frozen=True, slots=True)
class Context:
    """One (sub)group to answer a question on, the `whole` study it belongs to, and what the question was asked with."""

    study: DerivedStudy
    whole: DerivedStudy
    options: Options
    conventions: Conventions
    group: dict[str, str | None] | None = None

    @classmethod
    def of(cls, study: DerivedStudy, options: Options, group: dict[str, str | None] | None = None) -> Self:
        """A study with the conventions that are asked for, else its protocol's."""
        return cls(study, study, options, options.conventions(study.protocol.conventions), group)

    @property
    def protocol(self) -> Protocol:
        """The declared definitions."""
        return self.study.protocol

    @property
    def level(self) -> float:
        """The confidence level of every interval."""
        return self.options.level

    @property
    def listed(self) -> bool:
        """Whether it is asked what each patient contributes."""
        return self.options.patients

    def options_as(self, kind: type[OwnOptions]) -> OwnOptions:
        """The options of a question that takes more than the common ones; the whole report gives the common ones."""
        return self.options if isinstance(self.options, kind) else kind(**dict(self.options))

    @property
    def curve(self) -> CurveConventions:
        """The conventions of survival curves."""
        asked = self.conventions
        return {"level": self.level, "interval": asked.interval, "median": asked.median, "plateau": asked.plateau}

    @property
    def proportion_methods(self) -> tuple[str, ...]:
        """The methods of the intervals of a proportion: the convention in force, and Wilson beside it."""
        return tuple(dict.fromkeys((self.conventions.proportion, "wilson")))

    @property
    def ids(self) -> list[str]:
        """The identifiers of the patients, in the order of every derived row."""
        return [row.id for row in self.study.cohort.patients]

    @property
    def untreated(self) -> list[ExclusionReason | None]:
        """The reason of each patient who is not in the safety set."""
        return [None if treated else ExclusionReason.NOT_TREATED for treated in self.study.safety]

    def subgroups(self) -> "Iterator[Context]":
        """The study itself, or one part for each value of an attribute in code-point order, those without it last."""
        by = self.options.by
        if by is None:
            yield self
            return
        for value, rows in groups_by(self.study, by).items():
            yield replace(self, study=DerivedStudy(self.study.cohort.select(rows), self.protocol), group={by: value})

    def excluded(
        self,
        reasons: Sequence[ExclusionReason | None],
        measure: str,
        week: int | None = None,
        definition: Definition | None = None,
        estimate: str | None = None,
    ) -> list[Excluded]:
        """The patients with a reason, counted, in the order of `ExclusionReason`; None is a patient included.

        Raises `ValueError` for a reason that is not one of these.
        """
        counts = Counter(reasons)
        _refuse_unknown(counts, {None, *ExclusionReason})
        return [
            Excluded(
                group=self.group,
                reason=code,
                measure=measure,
                week=week,
                definition=definition,
                estimate=estimate,
                count=counts[code],
            )
            for code in ExclusionReason
            if code in counts
        ]

    def flags(self, counts: Mapping[FlagCode, int], measure: str) -> list[Flag]:
        """Counts as flags, in the order of `FlagCode`; raises `ValueError` for a code that is not one of these."""
        _refuse_unknown(counts, {*FlagCode})
        return [
            Flag(group=self.group, code=code, measure=measure, count=counts[code])
            for code in FlagCode
            if code in counts
        ]

    def flags_of(
        self, measure: str, more: Mapping[FlagCode, int] | None = None, *, upper_limits: bool = True
    ) -> list[Flag]:
        """What was noticed of a measure: its records, the old baselines of the efficacy set, and `more`.

        Results without an upper limit are not flagged for a question that needs none (`upper_limits` is false).
        """
        study = self.study
        too_old = int((study.baseline_too_old(measure) & study.efficacy).sum())
        counts = {**study.analysis_values(measure).flags, FlagCode.BASELINE_TOO_OLD: too_old, **(more or {})}
        if not upper_limits:
            counts.pop(FlagCode.NO_UPPER_LIMIT, None)
        return self.flags(counts, measure)


def _refuse_unknown(codes: Iterable[str | None], known: set[Any]) -> None:
    """A code without a place in the answers must not disappear from them."""
    if unknown := {*codes} - known:
        raise ValueError(f"no answer has the code {', '.join(map(str, unknown))}")


def values_of(study: DerivedStudy, by: By) -> list[str | None]:
    """The value of an attribute of each patient."""
    return [getattr(row, by) for row in study.cohort.patients]


def groups_by(study: DerivedStudy, by: By) -> dict[str | None, Bools]:
    """Who has each value of an attribute: the values in code-point order, last None for those who have none."""
    values = values_of(study, by)
    found = sorted({value for value in values if value is not None}) + ([None] if None in values else [])
    return {each: np.array([value == each for value in values], dtype=np.bool_) for each in found}


def populations(study: DerivedStudy) -> Populations:
    """The sizes of the populations."""
    return Populations(all=len(study.cohort), safety=int(study.safety.sum()), efficacy=int(study.efficacy.sum()))


def shared_part(name: str, whole: Context, found: Sequence[Findings], basis: Basis) -> dict[str, Any]:
    """What every answer carries beside its results: the fields of `Answer`."""
    own = () if basis.definition is None else (basis.definition,)
    caveats = (*basis.caveats, *(code for each in found for code in each.caveats))
    return {
        "analysis": name,
        "populations": populations(whole.study),
        "by": whole.options.by,
        "level": whole.level,
        "conventions": whole.conventions,
        "profile": whole.options.applied_profile(),
        "definitions": (*_common_definitions(whole.protocol), *own),
        "excluded": tuple(row for each in found for row in each.excluded),
        "flags": tuple(row for each in found for row in each.flags),
        "caveats": tuple(Caveat(code=code, text=CAVEATS[code]) for code in caveats),
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


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name in the address, what it asks, the type of its answer and how it is answered.

    `find` answers it on one (sub)group, and `basis` gives what the answer says once. A question that `compares_groups`
    is asked of the whole study once and forms the subgroups itself. `options_type` names the options that it takes
    beside the common ones. The whole report answers the questions that are `in_report`; the others are asked for by
    name.
    """

    name: str
    title: str
    answer_type: type[Answer]
    find: Callable[[Context], Findings]
    basis: Callable[[Context], Basis]
    options_type: type[Options] = Options
    in_report: bool = False
    compares_groups: bool = False

    def ask(self, study: DerivedStudy, options: Options) -> Answer:
        """The answer: the rows of the groups one after the other, and the shared part."""
        whole = Context.of(study, options)
        found = [self.find(each) for each in ([whole] if self.compares_groups else whole.subgroups())]
        basis = self.basis(whole)
        parts = shared_part(self.name, whole, found, basis) | dict(basis.fields)
        for each in found:
            parts |= each.fields
        rows: dict[str, Any] = {name: [] for name in self.answer_type.model_fields if name not in parts}
        for each in found:
            for name, own in each.results.items():
                rows[name] += own
        return self.answer_type(**parts, **rows)
