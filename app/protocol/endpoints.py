"""The endpoints of a protocol: the response rules of one measure, and the time with normal CK."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.protocol.criteria import (
    CkPercentOfBaseline,
    DaysWindow,
    Missing,
    PercentBetter,
    PointsBetter,
    Threshold,
    VisitWindow,
    Window,
)
from app.protocol.parts import Day, Measure, Part, Product, Week, contradiction
from app.timeline.vocabulary import AssessmentCode

RescueStrategy = Literal["treatment_policy", "composite", "hypothetical", "competing"]
"""What an intercurrent event does to the estimate: the words of ICH E9(R1), and `competing` for competing risks."""

SteroidDose = Annotated[float, Field(gt=0, le=10_000)]
"""A daily dose in mg of prednisolone equivalents."""

IMMUNOSUPPRESSANTS = (
    "azathioprine",
    "ciclosporin",
    "cyclophosphamide",
    "cyclosporine",
    "methotrexate",
    "mycophenolate mofetil",
    "rituximab",
    "tacrolimus",
)
"""Drugs used in addition to corticosteroids in inflammatory myopathy: international names, and one American name."""


class SteroidRescue(Part):
    """Which doses of glucocorticoids after day 0 are a rescue treatment, in mg of prednisolone equivalents a day.

    Doses are summed over all systemic glucocorticoids. Days without a reported dose of a patient with reported
    glucocorticoids count as 0: under `lowest` the period after a gap is a rise.
    """

    rise: SteroidDose | None = Field(
        default=None, description="Least rise of the daily dose that is a rescue; null for none.", examples=[20]
    )
    over: Literal["day_0", "lowest"] = Field(
        default="day_0",
        description="What the dose rises over: the dose on day 0, or the lowest dose from day 0 to the day before.",
        examples=["day_0"],
    )
    pulse: SteroidDose | None = Field(
        default=None,
        description="Least daily dose that is a pulse, if the dose of the day before was lower; null for none.",
        examples=[250],
    )

    @model_validator(mode="after")
    def _one_of_them_must_be_declared(self) -> Self:
        if self.rise is None and self.pulse is None:
            raise contradiction("ck_normal_time.steroid_rescue: without a rise and a pulse nothing is a rescue.")
        return self


class CkNormalTime(Part):
    """How long CK stays normal after its first normal value."""

    rmst_until_days: int = Field(
        default=365, ge=1, le=36500, description="Horizon of the restricted mean.", examples=[365]
    )
    immunosuppressants: tuple[Product, ...] = Field(
        default=IMMUNOSUPPRESSANTS,
        description="Drugs that are a rescue treatment if they begin after day 0, by any of their names in the drug "
        "dictionary, or as they are sent. Upper and lower case do not matter.",
        examples=[["azathioprine", "methotrexate"]],
    )
    steroid_rescue: SteroidRescue | None = Field(
        default=None,
        exclude_if=lambda rule: rule is None,
        description="A rise or pulse of glucocorticoids after day 0 that is a rescue treatment. Without it none is.",
        examples=[{"rise": 20, "over": "day_0", "pulse": 250}],
    )
    rescue: RescueStrategy = Field(
        default="treatment_policy",
        description="The effect of a rescue treatment (a second course or a new immunosuppressant, begun after day 0; "
        "a rise or pulse of glucocorticoids if `steroid_rescue` declares one) "
        "and of death on the time. `treatment_policy`: none, they are ignored and reported. `composite`: they end the "
        "time, as an abnormal CK does. `hypothetical`: the time is censored on the day of the rescue treatment. "
        "`competing`: they are competing events, and their cumulative incidence and that of an abnormal CK are "
        "estimated. They count only up to the last CK of known normality, at which all others are censored.",
        examples=["treatment_policy"],
    )
    sustained: bool = Field(
        default=False,
        exclude_if=lambda sustained: not sustained,
        description="Whether a remission episode begins at the first of two consecutive normal CKs instead of at the "
        "first normal CK.",
        examples=[False],
    )
    primary_estimate: Literal["kaplan_meier", "interval"] = Field(
        default="kaplan_meier",
        exclude_if=lambda estimate: estimate == "kaplan_meier",
        description="The estimate that comes first; `interval`: the interval-censored one (CK is known at draws only).",
        examples=["kaplan_meier"],
    )

    @model_validator(mode="after")
    def _interval_must_have_one_event(self) -> Self:
        if self.primary_estimate == "interval" and self.rescue == "competing":
            raise contradiction(
                "ck_normal_time.primary_estimate: the interval-censored estimate has no competing events."
            )
        return self


DoseWindow = Annotated[int, Field(ge=1, le=3650)]
DailyDose = Annotated[float, Field(ge=0, le=1000)]


class SteroidSparing(Part):
    """How much glucocorticoid was taken, when the dose became low, and who responded without it. Doses are in mg of
    prednisolone equivalents a day, summed over all systemic glucocorticoids.
    """

    windows: tuple[DoseWindow, ...] = Field(
        default=(28, 84, 182, 364),
        min_length=1,
        max_length=20,
        description="The numbers of days, day 0 included, over which doses are added up.",
        examples=[[28, 84, 182, 364]],
    )
    low_dose: DailyDose = Field(default=7.5, description="Greatest daily dose that is low, in mg.", examples=[7.5])
    sustained_days: int = Field(
        default=1,
        ge=1,
        le=3650,
        description="For how many days the dose must be low, from the first of them on. 1: the first day with a low "
        "dose counts.",
        examples=[1],
    )
    steroid_free_dose: DailyDose = Field(
        default=0, description="Greatest daily dose of a steroid-free response, in mg.", examples=[0]
    )
    after_last_period: Literal["unknown", "stopped"] = Field(
        default="unknown",
        description="The dose after the last reported period, if that has an end. `unknown`: it is not known, so that "
        "a dose of 0 must be sent as such. `stopped`: it is 0 up to the last fact of the patient. Between two periods "
        "it is never known.",
        examples=["unknown"],
    )

    @model_validator(mode="after")
    def _windows_must_ascend(self) -> Self:
        if list(self.windows) != sorted(set(self.windows)):
            raise contradiction("steroid_sparing.windows: declare each number of days once, ascending.")
        return self


class PointsAboveBaseline(Part):
    """Responder: the best (or last) value of the given days is at least `points` better than the baseline.

    The scale says whether higher or lower values are better.
    """

    id: Literal["points_above_baseline"] = Field(description="Name of the rule.", examples=["points_above_baseline"])
    measure: AssessmentCode = Field(description="Measure that the rule is applied to.", examples=["MMT"])
    points: float = Field(gt=0, description="Least improvement in points of the scale.", examples=[5])
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["best", "last"] = Field(description="Which value of these days is judged.", examples=["best"])


class PercentAboveBaseline(Part):
    """Responder: the visit of one week is better than the baseline by at least `percent` of the baseline."""

    id: Literal["percent_above_baseline"] = Field(description="Name of the rule.", examples=["percent_above_baseline"])
    measure: AssessmentCode = Field(description="Measure that the rule is applied to.", examples=["MMT"])
    percent: float = Field(gt=0, le=1000, description="Least improvement in per cent of the baseline.", examples=[20])
    week: Week = Field(description="Week whose visit is judged.", examples=[4])


class CkDecreaseOrNormal(Part):
    """Responder: CK is at most `percent_of_baseline` of the baseline, or normal, on the given days."""

    id: Literal["ck_decrease_or_normal"] = Field(description="Name of the rule.", examples=["ck_decrease_or_normal"])
    measure: Literal["CK"] = Field(default="CK", description="Measure that the rule is applied to.", examples=["CK"])
    percent_of_baseline: int = Field(
        ge=1, le=100, description="Greatest CK of a responder in per cent of the baseline.", examples=[70]
    )
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["best", "last"] = Field(
        description="`best`: any value of these days may meet the rule. `last`: the last value must meet it.",
        examples=["best"],
    )


class CkDecreaseOrNormalAtWeek(Part):
    """Responder: CK is at most `percent_of_baseline` of the baseline, or normal, at the visit of one week."""

    id: Literal["ck_decrease_or_normal_at_week"] = Field(
        description="Name of the rule.", examples=["ck_decrease_or_normal_at_week"]
    )
    measure: Literal["CK"] = Field(default="CK", description="Measure that the rule is applied to.", examples=["CK"])
    percent_of_baseline: int = Field(
        ge=1, le=100, description="Greatest CK of a responder in per cent of the baseline.", examples=[70]
    )
    week: Week = Field(description="Week whose visit is judged.", examples=[4])


class CriterionInWindow(Part):
    """Responder: the values of a window meet a criterion. All other rules are special cases of this one."""

    id: Literal["criterion_in_window"] = Field(description="Name of the rule.", examples=["criterion_in_window"])
    measure: Measure = Field(description="Measure that the rule is applied to.", examples=["MMT"])
    criterion: Threshold = Field(
        description="What a value must meet.", examples=[{"id": "percent_better", "percent": 20}]
    )
    window: Window = Field(
        description="Which values are judged, and whether a second value confirms them.",
        examples=[{"id": "visit", "week": 4, "confirmed": "next_visit"}],
    )
    missing: Missing = Field(
        default="left_out",
        description="A patient without a verdict is left out, or is a non-responder; then the rate is of all treated "
        "patients.",
        examples=["non_responder"],
    )


ResponseRule = Annotated[
    PointsAboveBaseline | PercentAboveBaseline | CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek | CriterionInWindow,
    Field(discriminator="id"),
]


def general_form(rule: ResponseRule) -> CriterionInWindow:
    """Any rule as a criterion in a window."""
    if isinstance(rule, CriterionInWindow):
        return rule
    criterion: Threshold
    if isinstance(rule, PointsAboveBaseline):
        criterion = PointsBetter(id="points_better", points=rule.points)
    elif isinstance(rule, PercentAboveBaseline):
        criterion = PercentBetter(id="percent_better", percent=rule.percent)
    else:
        criterion = CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=rule.percent_of_baseline)
    window: Window
    if isinstance(rule, PointsAboveBaseline | CkDecreaseOrNormal):
        window = DaysWindow(id="days", days=rule.days, value=rule.value)
    else:
        window = VisitWindow(id="visit", week=rule.week)
    return CriterionInWindow(id="criterion_in_window", measure=rule.measure, criterion=criterion, window=window)


class Response(Part):
    """One declared response definition. A report begins with the primary definition of each measure."""

    rule: ResponseRule = Field(
        description="The rule and its parameters.",
        examples=[{"id": "points_above_baseline", "measure": "MMT", "points": 5, "days": [1, 59], "value": "best"}],
    )
    primary: bool = Field(
        default=True, description="Whether this is the main rule of its measure, declared in advance.", examples=[True]
    )
