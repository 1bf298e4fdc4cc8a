"""The statistical conventions of a protocol, and the profiles: the defaults of R, SAS and lifelines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from app.protocol.parts import Part

ProportionInterval = Literal["clopper-pearson", "wilson", "jeffreys", "mid-p"]
MedianConvention = Literal["midpoint", "lower"]
PlateauConvention = Literal["left_end", "midpoint_to_last", "not_reached"]
SurvivalInterval = Literal["log-log", "log", "plain"]
Zeros = Literal["drop", "pratt"]
SignedRankP = Literal["exact", "exact_unless_tied", "normal_corrected", "normal"]
Multiplicity = Literal["holm", "hochberg", "fixed_sequence_backward", "none"]


class Conventions(Part):
    """Choices on which statistical packages differ; every answer names the ones that it used."""

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
        default="clopper-pearson", description="First interval of a proportion; the second is Wilson's.",
        examples=["clopper-pearson"],
    )  # fmt: skip
    multiplicity: Multiplicity = Field(
        default="holm", description="Adjustment over the weeks of a measure.", examples=["holm"]
    )


ProfileName = Literal["R", "SAS", "lifelines"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The default of one package for one convention, its source, and whether it was checked.

    Checked means: it was run here, or its documentation or a published run was read and says exactly this. The others
    are from memory.
    """

    value: str
    source: str
    checked: bool = True


PROFILES: Mapping[ProfileName, Mapping[str, Setting]] = {
    "R": {
        "median": Setting("midpoint", "survival 3.5-3, print.survfit and quantile.survfit"),
        "plateau": Setting("left_end", "survival 3.5-3, print.survfit; quantile.survfit answers midpoint_to_last"),
        "interval": Setting("log", "survival 3.5-3, survfit(conf.type = 'log')"),
        "zeros": Setting("drop", "stats 4.2.2, wilcox.test"),
        "signed_rank_p": Setting("exact_unless_tied", "stats 4.2.2, wilcox.test(exact = NULL, correct = TRUE)"),
        "proportion": Setting("clopper-pearson", "stats 4.2.2, binom.test"),
        "multiplicity": Setting("holm", "stats 4.2.2, p.adjust"),
    },
    "SAS": {
        "median": Setting("midpoint", "SAS/STAT User's Guide, PROC LIFETEST, quartiles"),
        "plateau": Setting("not_reached", "PROC LIFETEST, NE by the comparison with R in PSIAIMS/CAMIS"),
        "interval": Setting("log-log", "PROC LIFETEST, CONFTYPE=LOGLOG"),
        "zeros": Setting("drop", "PROC UNIVARIATE, signed rank test"),
        "signed_rank_p": Setting(
            "exact",
            "PROC UNIVARIATE, exact up to 20 differences, beyond them a t approximation",
            checked=False,
        ),
        "proportion": Setting("clopper-pearson", "PROC FREQ, BINOMIAL, exact limits", checked=False),
        "multiplicity": Setting("none", "PROC MULTTEST adjusts only as it is told", checked=False),
    },
    "lifelines": {
        "median": Setting("lower", "lifelines 0.30, median_survival_time_: first time with S(t) <= 0.5"),
        "plateau": Setting("left_end", "lifelines 0.30, median_survival_time_"),
        "interval": Setting("log-log", "lifelines 0.30, KaplanMeierFitter.confidence_interval_"),
    },
}
"""The defaults by package and convention. lifelines has no signed-rank test, proportion or adjustment."""


def under_profile(declared: Conventions, name: ProfileName) -> Conventions:
    """The declared conventions, replaced by the defaults of a package where it has any."""
    settings: dict[str, Any] = {switch: setting.value for switch, setting in PROFILES[name].items()}
    return declared.model_copy(update=settings)
