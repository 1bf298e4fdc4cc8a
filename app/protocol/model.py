"""The protocol of a study: all definitions that analyses use, declared before anybody looks at the data.

The models have the definitions of `docs/definitions.md`. Each answer repeats its definition by `id` and `parameters`.
A protocol that contradicts itself is refused, and the refusal names the definition.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from app.protocol.conventions import Conventions
from app.protocol.criteria import objections_to_criterion, objections_to_window
from app.protocol.endpoints import (
    CkNormalTime,
    Response,
    ResponseRule,
    SteroidSparing,
    general_form,
)
from app.protocol.improvement import DefinitionOfImprovement, ImprovementScore, objections
from app.protocol.parts import (
    BY_ALL,
    BY_COURSE,
    Analogue,
    Measure,
    Part,
    Product,
    Scale,
    Scaled,
    SentMaximum,
    Week,
    contradiction,
    scale_of,
)
from app.protocol.specification import SpecificationGrid, grid_objections
from app.timeline.document import AttributeName, Label

MOST_WEEKS, MOST_RESPONSES, MOST_FAMILY = 60, 60, 60
"""Greatest numbers of one protocol, because an answer may list every patient for each week and definition."""


class Treatment(Part):
    """Which infusions are the treatment, and which infusions are one course."""

    products: tuple[Product, ...] = Field(
        default=("IVIG",), min_length=1, description="Products whose infusions count.", examples=[["IVIG"]]
    )
    course_gap_days: int = Field(
        default=14,
        ge=1,
        le=365,
        description="Infusions of one product with at most this many days between them are one course.",
        examples=[14],
    )


class Baseline(Part):
    """The baseline is the last value on or before day 0."""

    flag_older_than_days: int = Field(
        default=42, ge=0, le=3650, description="A baseline older than this is used and flagged.", examples=[42]
    )
    exclude_older_than_days: int | None = Field(
        default=None,
        ge=0,
        le=3650,
        exclude_if=lambda days: days is None,
        description="A value older than this is no baseline. Absent: a value of any age is.",
        examples=[None, 90],
    )
    run_in_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        exclude_if=lambda days: days is None,
        description="How many days before day 0 the run-in reaches back. Absent: to the first value.",
        examples=[None, 365],
    )


class Visits(Part):
    """Which recorded value is used for each planned week. Day 7w is the target of week w; week 0 is the baseline."""

    weeks: tuple[Week, ...] = Field(
        default=(-4, 1, 2, 4, 8),
        min_length=1,
        max_length=MOST_WEEKS,
        description="Planned weeks other than week 0.",
        examples=[[-4, 1, 2, 4, 8]],
    )
    rule: Literal["nearest_within", "contiguous"] = Field(
        default="nearest_within",
        description="`nearest_within`: the value nearest to the target within `tolerance_days`, of two equally near "
        "ones the later. `contiguous`: windows meet half-way between the targets of declared weeks and week 0. A day "
        "half-way belongs to the later week. The first and the last window are symmetric around their targets.",
        examples=["nearest_within"],
    )
    tolerance_days: int = Field(
        default=3, ge=0, le=365, description="Half-width of a window with `nearest_within`.", examples=[3]
    )

    @model_validator(mode="after")
    def _windows_must_not_overlap(self) -> Self:
        if list(self.weeks) != sorted(set(self.weeks)) or 0 in self.weeks:
            raise contradiction("visits.weeks: declare each week once, ascending, without week 0.")
        if self.rule == "nearest_within":
            gaps = [7 * (after - before) for before, after in zip(self.weeks, self.weeks[1:], strict=False)]
            if any(gap <= 2 * self.tolerance_days for gap in gaps):
                raise contradiction("visits.tolerance_days: the windows of two declared weeks overlap.")
        return self


class WeeklyChange(Part):
    """The change from baseline at each week."""

    measures: tuple[Measure, ...] = Field(
        default=("CK", "MMT", "ADL"),
        min_length=1,
        description="Measures that are compared.",
        examples=[["CK", "MMT", "ADL"]],
    )
    weeks: tuple[Week, ...] = Field(
        default=(1, 2, 4, 8),
        min_length=1,
        max_length=MOST_WEEKS,
        description="Weeks that are compared with the baseline.",
        examples=[[1, 2, 4, 8]],
    )
    alpha: float = Field(
        default=0.05,
        ge=1e-6,
        lt=0.5,
        description="Significance level of the adjusted tests that decide the onset.",
        examples=[0.05],
    )


class CkChangeWeeks(Part):
    """The weeks of the before/after comparison of the change of ln(CK)."""

    before_week: Week = Field(
        default=-4, lt=0, description="Week at which the change before treatment begins.", examples=[-4]
    )
    after_week: Week = Field(
        default=4, gt=0, description="Week at which the change after treatment ends.", examples=[4]
    )


RiskDay = Annotated[int, Field(ge=0, le=365)]
RiskWindow = tuple[RiskDay, RiskDay]


class AdverseReactions(Part):
    """Which adverse events count as adverse reactions."""

    related: tuple[Literal["definite", "probable", "possible", "unlikely", "unrelated", "unknown", "true"], ...] = (
        Field(
            default=("definite", "probable", "possible", "unknown", "true"),
            min_length=1,
            description="Relations that count as related; an absent relation is `unknown`.",
            examples=[["definite", "probable", "possible", "unknown", "true"]],
        )
    )
    risk_windows: tuple[RiskWindow, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=10,
        exclude_if=lambda windows: windows is None,
        description="First and last day of each window after an infusion in which reactions are counted. Absent: days "
        "0-1 and 2-14. The day of the infusion is day 0.",
        examples=[[[0, 1], [2, 14]]],
    )

    @model_validator(mode="after")
    def _windows_must_not_overlap(self) -> Self:
        windows = self.risk_windows or ()
        if any(last < first for first, last in windows):
            raise contradiction("adverse_reactions.risk_windows: a window ends before it begins.")
        for (_, last), (first, _) in pairwise(windows):
            if first <= last:
                raise contradiction(
                    "adverse_reactions.risk_windows: two windows overlap or are not in ascending order."
                )
        return self


_ADDED_LATER = (("conventions", "signed_rank_p"),)
"""Fields that the first version did not have. With their default value they are left out of the digest, so that the
digests of older protocols do not change.
"""


class Protocol(Part):
    """The declared definitions of a study."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9.\-]{1,64}$",
        description="Name of the protocol; every answer repeats it.",
        examples=["seed-2008"],
    )
    title: str = Field(
        default="",
        max_length=200,
        description="Description of the protocol in one sentence.",
        examples=["Definitions of our own trial"],
    )
    treatment: Treatment = Field(default=Treatment(), description="The treatment.", examples=[{"products": ["IVIG"]}])
    baseline: Baseline = Field(default=Baseline(), description="The baseline.", examples=[{"flag_older_than_days": 42}])
    visits: Visits = Field(default=Visits(), description="The visit windows.", examples=[{"weeks": [-4, 1, 2, 4, 8]}])
    scales: dict[Scaled, Scale] = Field(
        default={},
        description="Scales of the sum scores.",
        examples=[{"MMT": {"maximum": 100, "better": "higher"}, "ADL": {"maximum": 50, "better": "higher"}}],
    )
    sent_scales: dict[Analogue, SentMaximum] = Field(
        default={},
        exclude_if=lambda scales: not scales,
        description="The `scale_max` of visual analogue scales that are not sent from 0 to 10; scores are converted.",
        examples=[{"PHYSICIAN_GLOBAL": 100}],
    )
    attributes: dict[AttributeName, Annotated[tuple[Label, ...], Field(min_length=1, max_length=100)]] = Field(
        default={},
        max_length=20,
        exclude_if=lambda attributes: not attributes,
        description="Attributes of patients that a timeline may have, each with its allowed values.",
        examples=[{"centre": ["Kyoto", "Osaka"]}],
    )
    upper_limit: Literal["own", "nearest_same_laboratory"] = Field(
        default="own",
        description="The upper limit of a CK that was sent without one. `own`: none. `nearest_same_laboratory`: the "
        "limit of the nearest CK of the same patient from the same laboratory (flagged).",
        examples=["own"],
    )
    responses: tuple[Response, ...] = Field(
        default=(),
        max_length=MOST_RESPONSES,
        description="The response definitions.",
        examples=[
            [{"rule": {"id": "points_above_baseline", "measure": "MMT", "points": 5, "days": [1, 59], "value": "best"}}]
        ],
    )
    response_rescue: Literal["treatment_policy", "composite"] = Field(
        default="treatment_policy",
        exclude_if=lambda strategy: strategy == "treatment_policy",
        description="The effect of a rescue or death on response: none, or no value after it is a response "
        "(`composite`).",
        examples=["treatment_policy"],
    )
    weekly_change: WeeklyChange = Field(
        default=WeeklyChange(), description="The weekly comparison.", examples=[{"weeks": [1, 2, 4, 8]}]
    )
    ck_change: CkChangeWeeks = Field(
        default=CkChangeWeeks(), description="The before/after comparison.", examples=[{"after_week": 4}]
    )
    ck_normal_time: CkNormalTime = Field(
        default=CkNormalTime(), description="The time with normal CK.", examples=[{"rmst_until_days": 365}]
    )
    adverse_reactions: AdverseReactions = Field(
        default=AdverseReactions(),
        description="The adverse reactions.",
        examples=[{"related": ["possible", "definite"]}],
    )
    steroid_sparing: SteroidSparing | None = Field(
        default=None,
        exclude_if=lambda part: part is None,
        description="The doses of glucocorticoids. Without it, the question `steroid-sparing` uses the defaults.",
        examples=[{"low_dose": 7.5}],
    )
    specification_grid: SpecificationGrid | None = Field(
        default=None,
        exclude_if=lambda part: part is None,
        description="The alternative definitions of response and remission that are compared. Without it, a default "
        "grid is made from the scales, visits and primary rules.",
        examples=[None],
    )
    improvement_score: ImprovementScore | None = Field(
        default=None,
        exclude_if=lambda part: part is None,
        description="The ACR/EULAR 2016 Total Improvement Score, if it is wanted.",
        examples=[{"core_set": {"population": "adult", "muscle_strength": "MMT8", "function": "HAQ"}}],
    )
    definition_of_improvement: DefinitionOfImprovement | None = Field(
        default=None,
        exclude_if=lambda part: part is None,
        description="The IMACS 2004 definition of improvement, if it is wanted.",
        examples=[{"core_set": {"population": "adult", "muscle_strength": "MMT8", "function": "HAQ"}}],
    )
    primary_family: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_FAMILY,
        exclude_if=lambda family: family is None,
        description="The endpoints whose tests are adjusted together (Holm): `response:MEASURE`, "
        "`weekly_change:MEASURE:WEEK`, `ck_change`, `time_to_first_normal`, `ck_normal_time`.",
        examples=[["weekly_change:CK:4", "ck_change"]],
    )
    conventions: Conventions = Field(
        default=Conventions(), description="The statistical conventions.", examples=[{"median": "midpoint"}]
    )

    @model_validator(mode="after")
    def _parts_must_agree(self) -> Self:
        if sentences := list(self._contradictions()):
            raise contradiction(" ".join(sentences))
        return self

    def scale(self, measure: str) -> Scale:
        """The scale of an instrument: its own fixed one, or the one that this protocol declares."""
        scale = scale_of(measure, self.scales)
        if scale is None:
            raise KeyError(measure)
        return scale

    @property
    def doses(self) -> SteroidSparing:
        """What is declared of the doses of glucocorticoids, or the defaults."""
        return self.steroid_sparing or SteroidSparing()

    @property
    def measures(self) -> tuple[str, ...]:
        """CK, and each measure that has a scale or occurs in a definition, each once."""
        judged = (response.rule.measure for response in self.responses)
        used: tuple[str, ...] = (*sorted(self.scales), *self.weekly_change.measures, *judged)
        if self.specification_grid is not None:
            used += tuple(grid.measure for grid in self.specification_grid.measures)
        for _, composite in self._composites():
            used += composite.core_set.measures
        return tuple(dict.fromkeys(("CK", *used)))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints, as `primary_family` names them."""
        compared = self.weekly_change
        return (
            *(f"response:{each.rule.measure}" for each in self.responses if each.primary),
            *(f"weekly_change:{measure}:{week}" for measure in compared.measures for week in compared.weeks),
            "ck_change",
            "time_to_first_normal",
            "ck_normal_time",
        )

    @property
    def digest(self) -> str:
        """`sha256:...` over the canonical JSON of the protocol: keys sorted, no spaces, defaults written out."""
        document = self.model_dump(mode="json")
        for part, name in _ADDED_LATER:
            if document[part][name] == type(getattr(self, part)).model_fields[name].default:
                del document[part][name]
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def _contradictions(self) -> Iterator[str]:
        yield from self._undeclared()
        for i, response in enumerate(self.responses):
            yield from (f"responses.{i}: {sentence}" for sentence in self._objections(response.rule))
        if self.specification_grid is not None:
            yield from grid_objections(self.specification_grid, self.visits.weeks, self.scales)
        for name, composite in self._composites():
            yield from objections(name, composite, self.visits.weeks, self.scales)
        yield from self._family_objections()
        if taken := {*BY_ALL, BY_COURSE} & {*self.attributes}:
            yield f"attributes.{min(taken)}: every study has this attribute."
        for name, values in self.attributes.items():
            if len(set(values)) < len(values):
                yield f"attributes.{name}: declare each value once."
        rules = [response.rule for response in self.responses]
        if len(set(rules)) < len(rules):
            yield "responses: declare each rule once."
        named = [response.rule.measure for response in self.responses if response.primary]
        if len(set(named)) < len(named):
            yield "responses: a measure has more than one primary definition."
        weeks, measures = self.weekly_change.weeks, self.weekly_change.measures
        if list(weeks) != sorted(set(weeks)) or 0 in weeks:
            yield "weekly_change.weeks: declare each week once, ascending, without week 0, which is the baseline."
        if len(set(measures)) < len(measures):
            yield "weekly_change.measures: declare each measure once."

    def _family_objections(self) -> Iterator[str]:
        """The contradictions of `primary_family`."""
        family = self.primary_family or ()
        for i, name in enumerate(family):
            if name not in self.endpoints:
                yield f"primary_family.{i}: the protocol has no endpoint of this name."
            elif name in family[:i]:
                yield f"primary_family.{i}: this endpoint is declared twice."

    def _composites(self) -> Iterator[tuple[str, ImprovementScore | DefinitionOfImprovement]]:
        """The declared definitions with a core set, with their names."""
        if self.improvement_score is not None:
            yield "improvement_score", self.improvement_score
        if self.definition_of_improvement is not None:
            yield "definition_of_improvement", self.definition_of_improvement

    def _undeclared(self) -> Iterator[str]:
        """Contradictions from weeks that are not planned and from measures without a scale."""
        needs: list[tuple[str, str, int | None]] = [
            (f"responses.{i}", r.rule.measure, None) for i, r in enumerate(self.responses)
        ]
        compared = self.weekly_change
        needs += [(f"weekly_change.measures.{i}", measure, None) for i, measure in enumerate(compared.measures)]
        needs += [(f"weekly_change.weeks.{i}", "CK", week) for i, week in enumerate(compared.weeks)]
        needs += [("ck_change.before_week", "CK", self.ck_change.before_week)]
        needs += [("ck_change.after_week", "CK", self.ck_change.after_week)]
        for where, measure, week in needs:
            if week is not None and week not in {0, *self.visits.weeks}:
                yield f"{where}: this week is not among visits.weeks."
            if not self._has_scale(measure):
                yield f"{where}: this measure needs its scale and direction in scales."

    def _objections(self, rule: ResponseRule) -> Iterator[str]:
        """The contradictions in one response rule."""
        own = general_form(rule)
        yield from objections_to_window(own.window, self.visits.weeks)
        if self._has_scale(own.measure):
            scale = None if own.measure == "CK" else self.scale(own.measure)
            yield from objections_to_criterion(own.criterion, own.measure, scale)

    def _has_scale(self, measure: str) -> bool:
        return measure not in get_args(Scaled) or measure in self.scales
