"""Questions and answers: the options of a question, the context it is answered in, and the fields of every answer.

A question is answered for each (sub)group, and the part that all answers share is added: how many patients there are,
who was left out and why, which flags were counted, and which conventions and definitions the results follow.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Self, TypedDict, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field
from typing_extensions import TypeAliasType

from app.analyses.multiplicity import in_one_sentence
from app.analyses.undecided_facts import DAY_0_AND_RESCUE, UNDECIDED_CAVEATS, undecided_codes
from app.derive.groupings import group_values
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.study import DerivedStudy
from app.derive.study_by_course import CourseStudy
from app.errors import Accepts, Fault, FaultCode, InvalidDocument
from app.estimate.results import Number, Result, WhyNull, is_none
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
from app.protocol.parts import BY_ALL, BY_COURSE, Part
from app.timeline.cohort import Bools
from app.timeline.same_facts import PairKind

By = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""`diagnosis`, `sex`, `age_band`, `laboratory`, for some questions `course`, or an attribute of the protocol."""
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
    "doses_as_reported": "A dose is what was reported: what a patient took may be another.",
    "equivalents_by_convention": "Doses of other glucocorticoids are converted by their usual equivalents, which "
    "compare one effect at ordinary doses; they are uncertain for pulses.",
    "dose_is_a_decision": "Doses were decided by physicians who knew the treatment: a lower dose may follow a plan and "
    "not the disease.",
    "missing_at_random": "The model assumes that whether a value is missing depends on the values seen only.",
    **UNDECIDED_CAVEATS,
}


class Definition(Result):
    """A declared definition and the parameters that it was used with."""

    id: str = Field(description="Name of the definition.", examples=["points_above_baseline"])
    parameters: dict[str, Any] = Field(
        description="Its parameters.", examples=[{"points": 5, "days": [1, 59], "value": "best"}]
    )

    @classmethod
    def of_rule(cls, rule: ResponseRule) -> Self:
        """A response rule without its measure, which every answer gives in a field next to it."""
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


Subgroup = TypeAliasType(
    "Subgroup",
    Annotated[dict[str, str | None], Field(description="A value by attribute; null for the patients without it.")],
)
Group = Annotated[
    Subgroup | None,
    Field(
        description="The subgroup, where `by` is given.",
        examples=[{"diagnosis": "polymyositis"}],
        exclude_if=lambda group: group is None,
    ),
]


class Grouped(Result):
    """A row that belongs to one subgroup where `by` is given."""

    group: Group = None


class Contribution(Result):
    """What one patient contributes to a result."""

    patient: str = Field(description="Subject identifier.", examples=["P01"])


def not_listed(patients: object) -> bool:
    """Whether a list of patients was not requested, so that the field is left out of the answer."""
    return patients is None


class Excluded(Grouped):
    """Patients left out of one estimate for one reason; these and the included patients are the whole group."""

    reason: str = Field(
        description="The reason: one of " + ", ".join(f"`{code}`" for code in ExclusionReason) + ".",
        examples=["no_baseline"],
    )
    measure: str = Field(description="The measure of the estimate.", examples=["CK"])
    week: int | None = Field(
        default=None,
        exclude_if=lambda week: week is None,
        description="The week, where the estimate is of one week.",
        examples=[4],
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
    """Something that was noticed and counted. A flag alone leaves no patient out."""

    code: str = Field(
        description="What was noticed: one of " + ", ".join(f"`{code}`" for code in FlagCode) + ".",
        examples=["duplicate_draw"],
    )
    measure: str | None = Field(
        default=None,
        exclude_if=lambda measure: measure is None,
        description="The measure, where the flag is of one measure.",
        examples=["CK"],
    )
    count: int = Field(description="How many records, events or patients.", examples=[0])


class Caveat(Result):
    """A reason for caution, as a code and a sentence, and whether it applies to these data."""

    code: str = Field(description="Stable code.", examples=["uncontrolled_pre_post"])
    measure: str | None = Field(
        default=None, exclude_if=is_none, description="The measure, where it is about one.", examples=["MMT"]
    )
    applies: bool | None = Field(description="Whether it applies; null where it cannot be told.", examples=[True])
    text: str = Field(description="The caveat with what was counted.", examples=[CAVEATS["uncontrolled_pre_post"]])


class Claim(Grouped):
    """One conclusion, and whether its rule allows it. Nothing else in an answer is a conclusion."""

    code: str = Field(description="The rule (see `docs/claims.md`).", examples=["onset"])
    measure: str | None = Field(
        default=None, exclude_if=is_none, description="The measure, where it is about one.", examples=["MMT"]
    )
    week: int | None = Field(
        default=None, exclude_if=is_none, description="The week, where it is about one.", examples=[2]
    )
    scale: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Scale of the differences, where an answer compares on several.",
        examples=["raw"],
    )
    text: str = Field(description="The conclusion, or what cannot be concluded.", examples=["MMT improved."])
    direction: str | None = Field(
        description="`improvement` or `worsening`; `increase` or `decrease` where neither end is better; null without "
        "a direction.",
        examples=["improvement"],
    )
    n: int = Field(description="Patients (courses, tests) that it rests on.", examples=[15])
    supported: bool = Field(description="Whether the rule allows it.", examples=[True])
    because: tuple[str, ...] = Field(description="Codes of what decided.", examples=[["significant"]])


class FamilyMember(Result):
    """One endpoint of the primary family."""

    endpoint: str = Field(description="Its name in the protocol.", examples=["weekly_change:CK:4"])
    method: str | None = Field(description="The test that decides; null where none is made.", examples=["paired_t"])
    p: Number | None = Field(description="Its p value alone.", examples=[0.01])
    p_adjusted: Number | None = Field(description="p adjusted by Holm over the family.", examples=[0.02])
    reason: WhyNull = None


class PrimaryFamily(Result):
    """The endpoints that the protocol declares as primary, tested together in the whole study."""

    tests: int = Field(description="Endpoints with a p value.", examples=[2])
    members: tuple[FamilyMember, ...] = Field(description="In the order of the protocol.", examples=[[]])
    text: str = Field(description="How they were adjusted.", examples=["The declared primary family has 2 endpoints."])


class HowAdjusted(Result):
    """Which tests an answer holds, and how their p values were adjusted."""

    text: str = Field(
        description="The same in one sentence, with what was not adjusted.",
        examples=["This answer tests nothing, so that nothing is adjusted."],
    )
    primary_family: PrimaryFamily | None = Field(
        default=None,
        exclude_if=is_none,
        description="Where the protocol declares one with an endpoint of this answer.",
        examples=[None],
    )


class AppliedProfile(Result):
    """The package whose documented defaults are in force, convention by convention."""

    name: ProfileName = Field(description="The package.", examples=["R"])
    set: tuple[str, ...] = Field(
        description="Conventions that have the package's default here; a convention that the request itself gives is "
        "not in this list.",
        examples=[["median", "interval"]],
    )
    unverified: tuple[str, ...] = Field(
        description="Of these, the ones that could be checked neither with the package nor in its documentation.",
        examples=[[]],
    )
    not_offered: tuple[str, ...] = Field(
        description="Conventions for which the package has no default; the protocol's apply.",
        examples=[[]],
    )


class Answer(Result):
    """The part of an answer that the question gives; study, revision and provenance are added when it is sent."""

    analysis: str = Field(description="The question.", examples=["response-rates"])
    populations: Populations = Field(description="The populations.")
    by: str | None = Field(description="What formed the subgroups.", examples=[None, "diagnosis"])
    level: float = Field(description="Confidence level of every interval.", examples=[0.95])
    conventions: Conventions = Field(description="The statistical conventions in force.")
    profile: AppliedProfile | None = Field(
        default=None,
        exclude_if=lambda profile: profile is None,
        description="Whose defaults they are.",
        examples=[None],
    )
    definitions: tuple[Definition, ...] = Field(description="Definitions of all results.", examples=[[]])
    multiplicity: HowAdjusted = Field(description="How p values were adjusted.")
    excluded: tuple[Excluded, ...] = Field(description="Patients left out.", examples=[[]])
    flags: tuple[Flag, ...] = Field(description="What was noticed.", examples=[[]])
    claims: tuple[Claim, ...] = Field(description="What is concluded.", examples=[[]])
    caveats: tuple[Caveat, ...] = Field(description="Reasons for caution.", examples=[[]])


def _true_or_false(value: object) -> object:
    """Accept `true` and `false` in a query, and no other word."""
    return {"true": True, "false": False}.get(value, _NO_FLAG) if isinstance(value, str) else value


_NO_FLAG = object()
TrueOrFalse = Annotated[bool, BeforeValidator(_true_or_false)]


class Options(Part):
    """The options of every question; for a convention that is left out the protocol's applies."""

    level: float = Field(
        default=0.95, ge=0.5, le=0.9999, description="Confidence level of the intervals.", examples=[0.95]
    )
    by: By | None = Field(
        default=None,
        description="Form subgroups by this; docs/analyses.md lists what.",
        examples=["diagnosis"],
    )
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
        description="Set every convention to the default that this package documents; a convention that is given in "
        "addition has priority.",
        examples=["R"],
    )
    patients: TrueOrFalse = Field(
        default=False,
        description="Also list what each patient contributes. These questions have no such list: "
        "`baseline-table`, `ck-normal-groups`, `caveats`, `comparisons`, `repeated-measures`, `planning` and "
        "`what-is-missing` (which always lists patients).",
        examples=[False],
    )
    patient: str | None = Field(
        default=None, max_length=64, description="With `patients=true`: list this patient alone.", examples=["P01"]
    )

    def conventions(self, declared: Conventions) -> Conventions:
        """The conventions in force: those that were given, else those of the profile, else the protocol's."""
        if self.profile is not None:
            declared = under_profile(declared, self.profile)
        given = {name: value for name in Conventions.model_fields if (value := getattr(self, name)) is not None}
        return declared.model_copy(update=given)

    def applied_profile(self) -> AppliedProfile | None:
        """Which conventions the profile sets; None without a profile."""
        if self.profile is None:
            return None
        settings = {name: setting for name, setting in PROFILES[self.profile].items() if getattr(self, name) is None}
        return AppliedProfile(
            name=self.profile,
            set=tuple(settings),
            unverified=tuple(name for name, setting in settings.items() if not setting.checked),
            not_offered=tuple(name for name in Conventions.model_fields if name not in PROFILES[self.profile]),
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """What a question gives for one (sub)group.

    `results` has the rows of each list of the answer, by the name of its field. `caveats` and `fields` (such as a
    count) belong to the whole answer and depend on the results. `claims` are those of the (sub)group.
    """

    results: Mapping[str, Sequence[Result]] = field(default_factory=dict)
    excluded: Sequence[Excluded] = ()
    flags: Sequence[Flag] = ()
    caveats: Sequence[str] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer says once for all subgroups: its caveats, its definition, further `fields`, and the claims of all
    subgroups together.
    """

    caveats: Sequence[str] = ()
    definition: Definition | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    claims: Sequence[Claim] = ()


class CurveConventions(TypedDict):
    """The parameters of every estimate of a survival curve."""

    level: float
    interval: SurvivalInterval
    median: MedianConvention
    plateau: PlateauConvention


@dataclass(frozen=True, slots=True)
class Context:
    """The (sub)group for which a question is answered, the `whole` study that it belongs to, and the options."""

    study: DerivedStudy
    whole: DerivedStudy
    options: Options
    conventions: Conventions
    group: dict[str, str | None] | None = None

    @classmethod
    def of(cls, study: DerivedStudy, options: Options, group: dict[str, str | None] | None = None) -> Self:
        """The context of a study; the options decide the conventions in force."""
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
        """Whether the answer lists what each patient contributes."""
        return self.options.patients

    def lists(self, patient: str) -> bool:
        """Whether a list of patients has this one."""
        return self.options.patient in (None, patient)

    def options_as(self, kind: type[OwnOptions]) -> OwnOptions:
        """The options as the type of one question; where only the common ones are given, the others have defaults."""
        if isinstance(self.options, kind):
            return self.options
        return kind(**{name: value for name, value in self.options if name in kind.model_fields})

    @property
    def curve(self) -> CurveConventions:
        """The conventions of survival curves."""
        return {
            "level": self.level,
            "interval": self.conventions.interval,
            "median": self.conventions.median,
            "plateau": self.conventions.plateau,
        }

    @property
    def proportion_methods(self) -> tuple[str, ...]:
        """The methods of the intervals of a proportion: the convention in force, then Wilson."""
        return tuple(dict.fromkeys((self.conventions.proportion, "wilson")))

    @property
    def ids(self) -> list[str]:
        """The identifiers of the patients, in the order of every derived row."""
        return [row.id for row in self.study.cohort.patients]

    @property
    def untreated(self) -> list[ExclusionReason | None]:
        """The reason for each patient who is not in the safety set; None for the others."""
        return [None if treated else ExclusionReason.NOT_TREATED for treated in self.study.safety]

    def subgroups(self) -> "Iterator[Context]":
        """The study itself; with `by`, one part for each value in code-point order, then the patients without one."""
        by = self.options.by
        if by is None:
            yield self
            return
        if by == BY_COURSE:
            for number, rows in enumerate(_courses_by_number(self.study), 1):
                yield replace(self, study=CourseStudy(self.study, rows), group={by: str(number)})
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
        """The number of patients for each reason, in the order of `ExclusionReason`; None means included.

        Raises `ValueError` for a reason that is not in `ExclusionReason`.
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
        """Counts as flags, in the order of `FlagCode`; raises `ValueError` for a code that is not in `FlagCode`."""
        _refuse_unknown(counts, {*FlagCode})
        return [
            Flag(group=self.group, code=code, measure=measure, count=counts[code])
            for code in FlagCode
            if code in counts
        ]

    def flags_of_orders(self, measure: str, *, steroids: bool = True) -> list[Flag]:
        """How many orders of drugs count, and how many do not; none without an order."""
        counts = self.study.orders(steroids=steroids)
        found = {FlagCode.ORDERS_COUNTED: counts.counted, FlagCode.ORDERS_LEFT_OUT: counts.left_out}
        return self.flags(found, measure) if any(counts) else []

    def flags_of(
        self, measure: str, more: Mapping[FlagCode, int] | None = None, *, upper_limits: bool = True
    ) -> list[Flag]:
        """The flags of a measure: of its records, of old baselines in the efficacy set, and `more`.

        `upper_limits` is false for a question that needs no upper limits: results without one are then not flagged.
        """
        study = self.study
        too_old = int((study.baseline_too_old(measure) & study.efficacy).sum())
        counts = {**study.flags(measure), FlagCode.BASELINE_TOO_OLD: too_old, **(more or {})}
        if not upper_limits:
            counts.pop(FlagCode.NO_UPPER_LIMIT, None)
        return self.flags(counts, measure)


def _refuse_unknown(codes: Iterable[str | None], known: set[Any]) -> None:
    """Raise `ValueError` for an unknown code, which the answer would otherwise not show."""
    if unknown := {*codes} - known:
        raise ValueError(f"no answer has the code {', '.join(map(str, unknown))}")


def values_of(study: DerivedStudy, by: By) -> list[str | None]:
    """The value of an attribute of each patient."""
    return group_values(study, by)


def _courses_by_number(study: DerivedStudy) -> Iterator[Bools]:
    """The first course of every patient, the second one, and so on."""
    place = study.courses.place
    yield from (place == number for number in range(1, int(place.max(initial=0)) + 1))


def check_grouping(name: str, by: str | None, protocol: Protocol, *, by_course: bool = False) -> None:
    """Raise `InvalidDocument` if no subgroups can be formed by what the parameter `name` says."""
    accepted = (*BY_ALL, *([BY_COURSE] if by_course else []), *protocol.attributes)
    if by is not None and by not in accepted:
        fault = Fault(f"/query/{name}", FaultCode.UNKNOWN_VALUE, accepts=Accepts(one_of=accepted))
        raise InvalidDocument(faults=[fault])


def groups_by(study: DerivedStudy, by: By) -> dict[str | None, Bools]:
    """The patients with each value of an attribute, in code-point order; last, as None, those without one."""
    values = values_of(study, by)
    groups = sorted({value for value in values if value is not None}) + ([None] if None in values else [])
    return {group: np.array([value == group for value in values], dtype=np.bool_) for group in groups}


def populations(study: DerivedStudy) -> Populations:
    """The sizes of the populations."""
    return Populations(all=len(study.cohort), safety=int(study.safety.sum()), efficacy=int(study.efficacy.sum()))


CaveatsOf = Callable[[Context, Sequence[str]], tuple[Caveat, ...]]
"""What gives the caveats of a study by their codes: `caveat_findings.caveats_of`, the one source of all answers."""


def shared_part(
    name: str,
    whole: Context,
    findings: Sequence[Findings],
    basis: Basis,
    caveats_of: CaveatsOf,
    adjusted_over: str | None = None,
    depends_on: Sequence[PairKind] = DAY_0_AND_RESCUE,
) -> dict[str, Any]:
    """The fields that every answer has: those of `Answer`."""
    definition = () if basis.definition is None else (basis.definition,)
    claims = (*(claim for each in findings for claim in each.claims), *basis.claims)
    by_course = ("courses_not_independent", "later_courses_selected") if whole.options.by == BY_COURSE else ()
    codes = (*basis.caveats, *(code for each in findings for code in each.caveats), *by_course)
    return {
        "analysis": name,
        "populations": populations(whole.study),
        "by": whole.options.by,
        "level": whole.level,
        "conventions": whole.conventions,
        "profile": whole.options.applied_profile(),
        "definitions": (*_common_definitions(whole.protocol), *definition),
        "excluded": tuple(row for each in findings for row in each.excluded),
        "flags": tuple(row for each in findings for row in each.flags),
        "multiplicity": HowAdjusted(
            text=in_one_sentence(
                [(each.results, each.fields) for each in findings],
                sum("one_of_a_family" in claim.because for claim in claims),
                adjusted_over,
            )
        ),
        "claims": claims,
        "caveats": caveats_of(whole, (*codes, *undecided_codes(whole.study, depends_on))),
    }


def _common_definitions(protocol: Protocol) -> tuple[Definition, ...]:
    """The definitions that every answer uses: treatment, baseline, visits, scales, upper limits."""
    parts: list[tuple[str, dict[str, Any]]] = [
        ("courses_by_gap", protocol.treatment.model_dump(mode="json")),
        ("last_on_or_before_day_0", protocol.baseline.model_dump(mode="json")),
        (f"visits_{protocol.visits.rule}", protocol.visits.model_dump(mode="json", exclude={"rule"})),
        ("scales", {name: scale.model_dump(mode="json") for name, scale in sorted(protocol.scales.items())}),
        (f"upper_limit_{protocol.upper_limit}", {}),
    ]
    return tuple(Definition(id=name, parameters=parameters) for name, parameters in parts)


def _of_group(findings: Findings, group: dict[str, str | None] | None) -> Findings:
    """The findings, whose claims name the subgroup."""
    if group is None:
        return findings
    return replace(findings, claims=[claim.model_copy(update={"group": group}) for claim in findings.claims])


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name in the address, its title, the type of its answer, and the functions that answer it.

    `find` answers it for one (sub)group, and `basis` gives what the answer says once. A question that `compares_groups`
    is answered once for the whole study and forms the subgroups itself. One that is `by_course` can be answered for
    each number of a course. `options_type` has the common options and those of this question. The report answers those
    `in_report`. `adjusted_over` names the p values that are adjusted together. Where facts of the kinds that it
    `depends_on` may be one, the answer has a caveat.
    """

    name: str
    title: str
    answer_type: type[Answer]
    find: Callable[[Context], Findings]
    basis: Callable[[Context], Basis]
    options_type: type[Options] = Options
    in_report: bool = False
    compares_groups: bool = False
    by_course: bool = False
    adjusted_over: str | None = None
    depends_on: tuple[PairKind, ...] = DAY_0_AND_RESCUE

    def ask(self, study: DerivedStudy, options: Options, caveats_of: CaveatsOf) -> Answer:
        """The answer: the rows of all groups in order, and the shared part."""
        check_grouping("by", options.by, study.protocol, by_course=self.by_course)
        check_grouping("stratify", getattr(options, "stratify", None), study.protocol)
        whole = Context.of(study, options)
        contexts = [whole] if self.compares_groups else list(whole.subgroups())
        findings = [_of_group(self.find(context), context.group) for context in contexts]
        basis = self.basis(whole)
        given = (self.adjusted_over, self.depends_on)
        parts = shared_part(self.name, whole, findings, basis, caveats_of, *given) | dict(basis.fields)
        for group in findings:
            parts |= group.fields
        rows: dict[str, Any] = {name: [] for name in self.answer_type.model_fields if name not in parts}
        for group in findings:
            for name, group_rows in group.results.items():
                rows[name] += group_rows
        return self.answer_type(**parts, **rows)
