"""Profiles: the defaults that statistical packages document for the switches of `conventions.py`.

A profile sets every switch that its package has and leaves the others as the protocol declares them. It follows the
package's documentation and never its faults: lifelines documents its median as the first time with S(t) <= 0.5 and
misses it on many curves by rounding; the profile gives what is documented.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.protocol.conventions import Conventions

ProfileName = Literal["R", "SAS", "lifelines"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The default of one package for one switch, what documents it, and whether that could be checked.

    Checked is what was run here or stands word for word in documentation that was read; the rest is from memory.
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
        "plateau": Setting("left_end", "PROC LIFETEST with S = 0.5 to the end of follow-up", checked=False),
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
"""The defaults by package and switch. lifelines has no signed-rank test, proportion or adjustment."""


def under_profile(declared: Conventions, name: ProfileName) -> Conventions:
    """The declared conventions with a package's defaults put over them."""
    settings: dict[str, Any] = {switch: setting.value for switch, setting in PROFILES[name].items()}
    return declared.model_copy(update=settings)
