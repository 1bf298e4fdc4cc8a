"""The endpoints: when a patient counts as a responder by one measure, and how long CK stays normal."""

from typing import Annotated, Literal

from pydantic import Field

from app.protocol.parts import Day, Part, Product, Week
from app.timeline.vocabulary import AssessmentCode

RescueStrategy = Literal["treatment_policy", "composite", "hypothetical", "competing"]
"""What an intercurrent event does to the estimate: the words of ICH E9(R1), and `competing` for competing risks."""

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
"""Drugs used beside corticosteroids in inflammatory myopathy, by their international names (and one American)."""


class CkNormalTime(Part):
    """How long CK stays normal once it is."""

    rmst_until_days: int = Field(
        default=365, ge=1, le=36500, description="Horizon of the restricted mean.", examples=[365]
    )
    immunosuppressants: tuple[Product, ...] = Field(
        default=IMMUNOSUPPRESSANTS,
        description="Drugs that are a rescue when they begin after day 0; compared without regard to case.",
        examples=[["azathioprine", "methotrexate"]],
    )
    rescue: RescueStrategy = Field(
        default="treatment_policy",
        description="What a further treatment (a second course or a new immunosuppressant, begun after day 0) and "
        "death do to the time. `treatment_policy`: nothing, they are ignored and reported. `composite`: they end it, "
        "as an abnormal CK does. `hypothetical`: the time is censored on the day of the further treatment. "
        "`competing`: they forestall the abnormal CK, whose cumulative incidence is estimated beside theirs. Either "
        "counts up to the last CK of known normality, at which everybody else is censored.",
        examples=["treatment_policy"],
    )


class PointsAboveBaseline(Part):
    """Responder: at least `points` better than the baseline at the best (or last) value of the days named.

    Better is up on a scale whose higher end is better, else down.
    """

    id: Literal["points_above_baseline"] = Field(description="Name of the rule.", examples=["points_above_baseline"])
    measure: AssessmentCode = Field(description="Measure that it is applied to.", examples=["MMT"])
    points: float = Field(gt=0, description="Least improvement in points of the scale.", examples=[5])
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["best", "last"] = Field(description="Which value of these days is judged.", examples=["best"])


class PercentAboveBaseline(Part):
    """Responder: at least `percent` of the baseline better than the baseline at the visit of one week."""

    id: Literal["percent_above_baseline"] = Field(description="Name of the rule.", examples=["percent_above_baseline"])
    measure: AssessmentCode = Field(description="Measure that it is applied to.", examples=["MMT"])
    percent: float = Field(gt=0, le=1000, description="Least improvement in per cent of the baseline.", examples=[20])
    week: Week = Field(description="Week whose visit is judged.", examples=[4])


class CkDecreaseOrNormal(Part):
    """Responder: CK at most `percent_of_baseline` of the baseline, or normal, on the days named."""

    id: Literal["ck_decrease_or_normal"] = Field(description="Name of the rule.", examples=["ck_decrease_or_normal"])
    measure: Literal["CK"] = Field(default="CK", description="Measure that it is applied to.", examples=["CK"])
    percent_of_baseline: int = Field(
        ge=1, le=100, description="Greatest CK of a responder in per cent of the baseline.", examples=[70]
    )
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["best", "last"] = Field(
        description="`best`: any value of these days may satisfy it; `last`: the last one must.", examples=["best"]
    )


class CkDecreaseOrNormalAtWeek(Part):
    """Responder: CK at most `percent_of_baseline` of the baseline, or normal, at the visit of one week."""

    id: Literal["ck_decrease_or_normal_at_week"] = Field(
        description="Name of the rule.", examples=["ck_decrease_or_normal_at_week"]
    )
    measure: Literal["CK"] = Field(default="CK", description="Measure that it is applied to.", examples=["CK"])
    percent_of_baseline: int = Field(
        ge=1, le=100, description="Greatest CK of a responder in per cent of the baseline.", examples=[70]
    )
    week: Week = Field(description="Week whose visit is judged.", examples=[4])


ResponseRule = Annotated[
    PointsAboveBaseline | PercentAboveBaseline | CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek,
    Field(discriminator="id"),
]


class Response(Part):
    """One declared response definition; the primary one of a measure is the one that a report leads with."""

    rule: ResponseRule = Field(
        description="The rule and its parameters.",
        examples=[{"id": "points_above_baseline", "measure": "MMT", "points": 5, "days": [1, 59], "value": "best"}],
    )
    primary: bool = Field(
        default=True, description="Whether this is the pre-declared main rule of its measure.", examples=[True]
    )
