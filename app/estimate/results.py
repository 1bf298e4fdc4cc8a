"""The models of estimates. They are frozen, and their field names are those of the JSON answers.

A field is null only where its number is not defined; the field `reason` of the same model then says why.
"""

from abc import abstractmethod
from enum import StrEnum
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

RATE_INTERVAL: dict[str, JsonValue] = {
    "of": "rate",
    "method": "clopper-pearson",
    "level": 0.95,
    "low": 0.680515433422,
    "high": 0.998313569759,
    "reason": None,
}
CHANGE_INTERVALS: list[dict[str, JsonValue]] = [
    {"of": "mean", "method": "t", "level": 0.95, "low": -0.661797348661, "high": -0.402806976675, "reason": None},
    {
        "of": "pseudomedian",
        "method": "hodges_lehmann_exact",
        "level": 0.95,
        "low": -0.667123407139,
        "high": -0.396873997559,
        "estimate": -0.510278993725,
        "reason": None,
    },
]
CHANGE_TESTS: list[dict[str, JsonValue]] = [
    {
        "method": "wilcoxon_exact",
        "statistic": 0,
        "df": None,
        "p": 6.103515625e-05,
        "p_adjusted": 0.000244140625,
        "adjustment": "holm",
        "n_used": 15,
        "n_zero": 0,
        "reason": None,
    },
    {
        "method": "paired_t",
        "statistic": -8.816347756,
        "df": 14,
        "p": 4.3420834081e-07,
        "p_adjusted": 8.68416681621e-07,
        "adjustment": "holm",
        "n_used": 15,
        "n_zero": 0,
        "reason": None,
    },
]
MEDIAN_INTERVAL: dict[str, JsonValue] = {
    "of": "median",
    "method": "brookmeyer-crowley/log-log",
    "level": 0.95,
    "low": 77,
    "high": None,
    "reason": "not_reached",
}
MEDIAN: dict[str, JsonValue] = {
    "value": 334.5,
    "at_risk": 4,
    "unit": "d",
    "convention": "midpoint",
    "plateau": "left_end",
    "reason": None,
    "intervals": [MEDIAN_INTERVAL],
}
CURVE_POINT: dict[str, JsonValue] = {
    "time": 41,
    "at_risk": 12,
    "events": 1,
    "censored": 1,
    "survival": 0.916666666667,
    "low": 0.538977180571,
    "high": 0.9878255654,
    "censorings": [{"time": 55, "patients": 1}],
}


def twelve_digits(x: float) -> float:
    """Round to 12 significant digits: enough for readers, and the same on all machines."""
    return float(f"{x:.12g}") + 0.0  # + 0.0 turns -0.0 into 0.0


Number = Annotated[
    float, Field(allow_inf_nan=False), PlainSerializer(twelve_digits, return_type=float, when_used="json")
]
"""A finite number. Python sees all its digits, JSON the first 12 significant ones."""


class Reason(StrEnum):
    """Why a number is null."""

    description: str

    def __new__(cls, value: str, description: str) -> "Reason":
        """Store the sentence that explains the code with the code."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    NO_PATIENTS = "no_patients", "No patient has the values that this number is computed from."
    TOO_FEW_VALUES = "too_few_values", "One value has no spread: no standard deviation, t test or t interval."
    CONSTANT_DIFFERENCES = "constant_differences", "All differences are equal, their spread is 0 and t is not defined."
    ALL_DIFFERENCES_ZERO = "all_differences_zero", "Zeros are dropped and every difference is zero: nothing is left."
    LEVEL_NOT_ATTAINABLE = (
        "level_not_attainable",
        "So few differences are not zero that even their whole range is an interval of a lower level.",
    )
    OUT_OF_RANGE = "out_of_range", "The ratio is too large to be written as a number."
    NO_EVENTS = "no_events", "Nobody had the event: the curve stays at 1."
    NOT_REACHED = "not_reached", "The curve, or its confidence limit, does not fall to one half during follow-up."
    NO_SURVIVORS = "no_survivors", "The curve is 0 from here on, where it has no confidence limits."
    BEYOND_FOLLOW_UP = "beyond_follow_up", "Follow-up ends earlier while the curve is still above 0."
    NOT_DECLARED = "not_declared", "The protocol does not declare this definition."
    TOO_LARGE = "too_large", "More patients or values than this number is computed for within reasonable time."
    SEPARATED = (
        "separated",
        "The groups had their events one after the other, so that no finite hazard ratio fits them best.",
    )
    NO_EVENTS_IN_REFERENCE = (
        "no_events_in_reference",
        "Nobody in the group that the others are compared with had the event: any ratio to it would be infinite.",
    )
    NEVER_COMPARED = "never_compared", "No two groups were at risk together when some had the event and some had not."
    TOO_FEW_EVENTS = "too_few_events", "Too few events at different times to see whether the hazard ratio changes."
    REFERENCE_GROUP = "reference_group", "This is the group that the others are compared with."
    NOT_COMPARED = "not_compared", "Patients without the attribute are shown beside the groups and compared with none."
    CHAIN_BROKEN = "chain_broken", "A later week has no p value, so the fixed sequence stops before this one."

    ZERO_DENOMINATOR = "zero_denominator", "The ratio would divide by zero: it has no value or no upper limit."
    NO_STANDARD_ERROR = (
        "no_standard_error",
        "Counts of none or of all leave this method without a standard error, and so without an interval.",
    )
    NO_INFORMATION = "no_information", "With these totals only one table is possible: it says nothing of a difference."
    NO_GROUPS = "no_groups", "No subgroups were asked for: `by` names what they are formed by."
    ONE_GROUP = "one_group", "Fewer than two groups have patients: there is nothing to compare with."
    NO_SUCH_GROUP = "no_such_group", "No patient is in the group that was named as the reference."
    NOT_CONVERGED = "not_converged", "The search for the best fitting model did not end at one."
    SINGULAR_COVARIANCE = (
        "singular_covariance",
        "The values of a visit are all equal, or follow exactly from other visits: the covariance has no inverse.",
    )
    TOO_FEW = (
        "too_few",
        "Too few patients for so many visits, more than 8 visits, or too many values missing: intervals may be too "
        "narrow. `weekly-change` has an answer for each week.",
    )

    TOO_FEW_REPEATED = "too_few_repeated", "Fewer than two patients have two values before treatment."
    TOO_FEW_RUN_IN = "too_few_run_in", "Fewer than five patients have two values before treatment."
    BOUNDED_RUN_IN = (
        "bounded_run_in",
        "More than a tenth of the values before treatment are bounds, or at an end of their scale.",
    )
    NO_ERROR_SEEN = "no_error_seen", "No patient's values before treatment differ: the size of errors is not known."
    NOT_SIMULATED = "not_simulated", "No simulated cohort has this number."
    ONE_PATIENT = "one_patient", "All of them belong to one patient: nothing tells how patients differ."
    CONSTANT_VALUES = "constant_values", "All values are equal: there is no variance to divide."
    TOO_FEW_RESAMPLES = "too_few_resamples", "Too few resamples for this level, or too few with an answer."
    NOT_KNOWN_HERE = "not_known_here", "Only the frame around this answer knows it."
    NO_MAIN_ESTIMATE = "no_main_estimate", "The main estimate, which this would be compared with, is null."
    OTHER_UNIT = "other_unit", "The two numbers are not in one unit, so that their difference says nothing."
    NOT_TESTED = "not_tested", "This endpoint is estimated in one group and tested against nothing."
    UNDECIDED = "undecided", "Missing measures leave open how many patients have it."
    ERASED = "erased", "The revision held a person who was erased since."

    P_BELOW_LEAST = "p_below_least", "p is smaller than `p_below`, the least that is written as a number."
    HIDDEN_BY_BOUNDS = "hidden_by_bounds", "Values known only as bounds leave it open."
    TOO_FEW_KNOWN = "too_few_known", "Fewer than two differences are known; all others are bounds."
    SPREAD_HIDDEN = "spread_hidden", "One number lies within the bounds of all patients, so that the spread may be 0."

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe each code in the OpenAPI document."""
        schema = handler(core_schema)
        schema["description"] = "\n".join([f"{cls.__doc__}", *(f"- `{each}`: {each.description}" for each in cls)])
        return schema


LEAST_P = 1e-300
"""A smaller p is not written as a number: floats end near 1e-308, and there p would be 0, which no p is."""

WhyNull = Annotated[
    Reason | None,
    Field(description="Why a number here is null; null when none is.", examples=[None, "no_patients"]),
]


def is_none(value: object) -> bool:
    """Whether the answer omits the field: it has no meaning here."""
    return value is None


class Result(BaseModel):
    """The base of all results: they cannot change, and have only declared fields."""

    # Models are built when they are first used: there are dozens, and the start of the service needs none.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Omitting(Result):
    """A result with fields that have a meaning in some rows only; where a field has one it is present, null or not."""

    @abstractmethod
    def omits(self, name: str) -> bool:
        """Whether a field has no meaning in this row."""

    @model_serializer(mode="wrap")
    def _without_omitted(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        return {name: value for name, value in written.items() if value is not None or not self.omits(name)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the fields, and not that they are written by a function."""
        return handler(cast("CoreSchema", {key: part for key, part in core_schema.items() if key != "serialization"}))


class Interval(Omitting):
    """A two-sided confidence interval. A null limit means that the interval is open or undefined on that side."""

    of: str = Field(description="What the interval is about.", examples=["rate", "mean", "pseudomedian", "median"])
    method: str = Field(
        description="How it is computed.", examples=["clopper-pearson", "t", "hodges_lehmann_exact", "wilson"]
    )
    level: Number = Field(description="Two-sided confidence level.", examples=[0.95])
    low: Number | None = Field(description="Lower confidence limit.", examples=[0.680515433422])
    high: Number | None = Field(description="Upper confidence limit.", examples=[0.998313569759])
    estimate: Number | None = Field(
        default=None,
        description="The point estimate, present where no field beside the interval gives it (Hodges-Lehmann).",
        examples=[-0.510278993725],
    )
    reason: WhyNull = None

    def omits(self, name: str) -> bool:
        """Only a Hodges-Lehmann interval carries its estimate."""
        return name == "estimate" and not self.method.startswith("hodges_lehmann")


def never_zero(given: object) -> object:
    """The fields of a result whose p is below 1e-300: null, with the reason and `p_below`."""
    if not isinstance(given, dict) or given.get("p") is None or given["p"] >= LEAST_P:
        return given
    return given | {"p": None, "p_below": LEAST_P, "reason": given.get("reason") or Reason.P_BELOW_LEAST}


PBelow = Annotated[
    Number | None,
    Field(
        exclude_if=is_none,
        description="Where p is too small to be written: what it is below. Absent otherwise.",
        examples=[None],
    ),
]


class TestResult(Result):
    """A two-sided test."""

    __test__ = False  # pytest, this is no test class

    method: str = Field(description="Which test.", examples=["wilcoxon_exact", "paired_t", "one_sample_t"])
    statistic: Number | None = Field(
        description="t, or V = the sum of the ranks of the positive differences.", examples=[-8.816347756, 103.5]
    )
    df: Number | None = Field(
        default=None, description="Degrees of freedom; null for rank tests, which have none.", examples=[14]
    )
    p: Number | None = Field(description="Two-sided p value.", examples=[6.103515625e-05])
    p_below: PBelow = None
    p_adjusted: Number | None = Field(
        default=None,
        description="p adjusted for the other tests of its family; the most it can be where p is below `p_below`.",
        examples=[0.000244140625],
    )
    adjustment: str | None = Field(
        default=None, description="How p was adjusted; null for a test that stands alone.", examples=["holm"]
    )
    n_used: int = Field(description="Differences that the test uses.", examples=[15])
    n_zero: int = Field(description="Differences that are zero; rank tests do not use them.", examples=[0])
    reason: WhyNull = None

    _never_zero = model_validator(mode="before")(never_zero)

    @property
    def p_at_most(self) -> float | None:
        """p, or what it is below."""
        return self.p_below if self.p is None else self.p


class Proportion(Result):
    """A proportion k/n with its intervals."""

    k: int = Field(description="Patients who have it.", examples=[14])
    n: int = Field(description="Patients in whom it can be told.", examples=[15])
    rate: Number | None = Field(description="k/n, a fraction and not a percentage.", examples=[0.933333333333])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="One interval of the rate for each method.", examples=[[RATE_INTERVAL]]
    )


class BoundedMean(Result):
    """How a mean was found where some differences are known only as bounds, and what substitution would give."""

    exact: int = Field(description="Differences that are known.", examples=[12])
    below: int = Field(description="Of which only an upper bound is known.", examples=[2])
    above: int = Field(description="Of which only a lower bound is known.", examples=[0])
    between: int = Field(description="Known to lie between two bounds.", examples=[0])
    unknown: int = Field(description="Without any bound; they say nothing of the mean.", examples=[0])
    standard_error: Number | None = Field(description="Standard error of the mean.", examples=[0.21])
    log_scale: Number | None = Field(
        description="ln of the standard deviation (divisor n) of the normal distribution with the greatest likelihood.",
        examples=[-0.31],
    )
    reason: WhyNull = None
    substituted_mean: Number | None = Field(
        description="The mean if `<x` counts as x/2 and `>x` as x.", examples=[-1.49]
    )


class Change(Result):
    """The differences of one measure, one for each patient: centre, spread, tests and intervals."""

    n: int = Field(description="Patients with a difference.", examples=[15])
    mean: Number | None = Field(description="Arithmetic mean of the differences.", examples=[-0.532302162668])
    median: Number | None = Field(description="Sample median of the differences.", examples=[-0.462135768045])
    sd: Number | None = Field(description="Standard deviation, divisor n - 1.", examples=[0.233838032281])
    tests: tuple[TestResult, ...] = Field(description="The signed rank test, then the t test.", examples=[CHANGE_TESTS])
    intervals: tuple[Interval, ...] = Field(
        description="The t interval of the mean, then the Hodges-Lehmann interval of the pseudomedian.",
        examples=[CHANGE_INTERVALS],
    )
    reason: WhyNull = None
    bounds: BoundedMean | None = Field(
        default=None,
        exclude_if=is_none,
        description="How the mean was found where a difference is known only as a bound; absent where none is.",
        examples=[None],
    )


class Censoring(Result):
    """Patients censored at one time: a mark on the curve."""

    time: Number = Field(description="The time.", examples=[55])
    patients: int = Field(description="Patients censored at it.", examples=[1])


class NumberAtRisk(Result):
    """How many patients are under observation without the event just before one time."""

    time: Number = Field(description="The time.", examples=[90])
    at_risk: int = Field(description="Patients at risk.", examples=[10])


class CurvePoint(Result):
    """One step of a survival curve: the counts and S(t) at time 0 or at one event time, and until the next."""

    time: Number = Field(description="0 in the first row, then the time of the event.", examples=[41])
    at_risk: int = Field(description="Patients under observation just before this time.", examples=[12])
    events: int = Field(description="Events at this time.", examples=[1])
    censored: int = Field(description="Patients censored from this time on and before the next row's.", examples=[0])
    survival: Number = Field(description="S(t) from this time on.", examples=[0.916666666667])
    low: Number | None = Field(description="Lower pointwise confidence limit of S(t).", examples=[0.538977180571])
    high: Number | None = Field(description="Upper pointwise confidence limit of S(t).", examples=[0.9878255654])
    censorings: tuple[Censoring, ...] = Field(
        default=(),
        description="When they were censored; without patients who left by a competing event.",
        examples=[[]],
    )
    reason: Annotated[WhyNull, Field(exclude_if=is_none)] = None


class Median(Result):
    """The median time to the event."""

    value: Number | None = Field(description="Median time.", examples=[334.5])
    at_risk: int | None = Field(description="Patients at risk just before the median; null without one.", examples=[4])
    unit: str = Field(description="Unit of every time here.", examples=["d"])
    convention: str = Field(
        description="Where the median is put while S(t) is exactly one half.", examples=["midpoint", "lower"]
    )
    plateau: str = Field(
        description="Where it is put when S(t) stays at exactly one half to the end of follow-up.",
        examples=["left_end", "midpoint_to_last", "not_reached"],
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="Brookmeyer-Crowley interval of the median.", examples=[[MEDIAN_INTERVAL]]
    )


class RestrictedMean(Result):
    """The restricted mean survival time: the area under the curve up to a fixed time."""

    until: Number = Field(description="The fixed time.", examples=[365])
    value: Number | None = Field(description="Area under S(t) from 0 to that time.", examples=[260.25])
    standard_error: Number | None = Field(
        description="Its standard error (Greenwood); null where nobody's event says how it varies.",
        examples=[35.304651291],
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        default=(),
        description="Normal interval of the mean on the scale of the times, kept within 0 and `until`.",
        examples=[[]],
    )


class Survival(Result):
    """A Kaplan-Meier estimate."""

    n: int = Field(description="Patients in the risk set at time 0.", examples=[13])
    events: int = Field(description="Patients who had the event.", examples=[8])
    median: Median = Field(description="Median time to the event.", examples=[MEDIAN])
    curve: tuple[CurvePoint, ...] = Field(
        description="A row at time 0, then one for each event time.", examples=[[CURVE_POINT]]
    )
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(
        description="Every 30 d up to the last time; every 90 d where that is after day 360.", examples=[[]]
    )


class Summary(Result):
    """The distribution of one number over patients."""

    n: int = Field(description="Values.", examples=[15])
    mean: Number | None = Field(description="Arithmetic mean.", examples=[46.6])
    sd: Number | None = Field(description="Standard deviation, divisor n - 1.", examples=[17.3])
    median: Number | None = Field(description="Sample median.", examples=[44])
    q1: Number | None = Field(description="Lower quartile (type 7, the default of R).", examples=[34])
    q3: Number | None = Field(description="Upper quartile (type 7, the default of R).", examples=[61])
    reason: WhyNull = None


class EventRate(Result):
    """Events per unit of exposure."""

    events: int = Field(description="Events counted.", examples=[9])
    exposure: Number = Field(description="Exposure in `unit`.", examples=[80])
    unit: str = Field(description="Unit of the exposure.", examples=["infusion", "course", "patient-year"])
    rate: Number | None = Field(description="events / exposure.", examples=[0.1125])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Exact Poisson interval of the rate.", examples=[[]])
