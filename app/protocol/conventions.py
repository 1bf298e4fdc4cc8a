"""Choices on which statistical packages disagree."""

from typing import Literal

from pydantic import Field

from app.protocol.parts import Part

ProportionInterval = Literal["clopper-pearson", "wilson", "jeffreys", "mid-p"]
MedianConvention = Literal["midpoint", "lower"]
PlateauConvention = Literal["left_end", "midpoint_to_last"]
SurvivalInterval = Literal["log-log", "log", "plain"]
Zeros = Literal["drop", "pratt"]
SignedRankP = Literal["exact", "exact_unless_tied", "normal_corrected", "normal"]
Multiplicity = Literal["holm", "hochberg", "fixed_sequence_backward", "none"]


class Conventions(Part):
    """Choices on which statistical packages disagree; every answer names the ones that it used."""

    median: MedianConvention = Field(
        default="midpoint", description="Median when the curve is exactly 0.5 over an interval.", examples=["midpoint"]
    )
    plateau: PlateauConvention = Field(
        default="left_end",
        description="Median when the curve stays at 0.5 to the end of follow-up.",
        examples=["left_end"],
    )
    interval: SurvivalInterval = Field(
        default="log-log",
        description="Scale of the intervals of the survival curve and its median.",
        examples=["log-log"],
    )
    zeros: Zeros = Field(default="drop", description="Zero differences in the signed-rank test.", examples=["drop"])
    signed_rank_p: SignedRankP = Field(
        default="exact",
        description="p of the signed-rank test. `exact`: exact up to 50 differences that are not zero, then as "
        "`normal_corrected`. `exact_unless_tied`: exact below 50 differences without ties and zeros, else as "
        "`normal_corrected`. `normal_corrected`, `normal`: from the normal distribution with correction for ties, with "
        "and without continuity correction.",
        examples=["exact"],
    )
    proportion: ProportionInterval = Field(
        default="clopper-pearson", description="First interval of a proportion; Wilson stands beside it.",
        examples=["clopper-pearson"],
    )  # fmt: skip
    multiplicity: Multiplicity = Field(
        default="holm", description="Adjustment over the weeks of a measure.", examples=["holm"]
    )
