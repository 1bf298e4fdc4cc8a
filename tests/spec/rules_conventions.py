"""The conventions on which statistical packages differ: every answer names them, and a question can choose them."""

from tests.spec.rule import Case, Rounded, Rule, alike, changing, relapsing, staying_normal

AML = (relapsing(9, 13, 18, 23, 31, 34, 48), staying_normal(13, 28, 45, 161))
"""The maintained arm of R's `aml`: remission in weeks, read as days here."""
PLATEAU = (relapsing(10, 20, 30, 40), staying_normal(50, 60, 70, 80))

MEDIAN = Rule(
    row="KM median when S(t) = 0.5 over an interval",
    name="Median while exactly half are left",
    words="`midpoint` (the default; R and SAS): midway between the time at which half are left and the next "
    "event. `lower`: the first time with half or less left.",
    cases=(
        Case(
            says="midpoint of 200 and 300",
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 250, "named convention median": "midpoint"},
        ),
        Case(
            says="lower end 200",
            query={"median": "lower"},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 200, "named convention median": "lower"},
        ),
        Case(
            says="if the curve does not stay at one half, both are the same time",
            query={"median": "lower"},
            groups=[relapsing(100, 200, 300)],
            expect={"time normal: median": 200},
        ),
        Case(
            says="the protocol may choose for the study",
            changes={"conventions": {"median": "lower"}},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 200, "named convention median": "lower"},
        ),
        Case(
            says="the choice of the question takes precedence over the choice of the protocol",
            changes={"conventions": {"median": "lower"}},
            query={"median": "midpoint"},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 250, "named convention median": "midpoint"},
        ),
    ),
)

PLATEAU_RULE = Rule(
    row="plateau at 0.5 that runs to the end of follow-up",
    name="Exactly half left to the end of follow-up",
    words="`left_end` (the default, as R prints it): the time at which half were left. `midpoint_to_last` (as "
    "R's quantile does): midway between that and the last time of follow-up. `not_reached` (as PROC LIFETEST of SAS "
    "does): there is no median, because never less than half were left.",
    cases=(
        Case(
            says="the left end of a half from day 40 to day 80",
            groups=[*PLATEAU],
            expect={"time normal: median": 40, "named convention plateau": "left_end"},
        ),
        Case(
            says="the middle of a half from day 40 to day 80",
            query={"plateau": "midpoint_to_last"},
            groups=[*PLATEAU],
            expect={"time normal: median": 60, "named convention plateau": "midpoint_to_last"},
        ),
        Case(
            says="if another event follows, the plateau does not continue to the end",
            query={"plateau": "midpoint_to_last"},
            groups=[relapsing(10, 20, 30), staying_normal(80)],
            expect={"time normal: median": 25},
        ),
        Case(
            says="no median of a half from day 40 to day 80",
            query={"plateau": "not_reached"},
            groups=[*PLATEAU],
            expect={"time normal: median": "not_reached", "named convention plateau": "not_reached"},
        ),
        Case(
            says="SAS gives the middle of a half that another event ends",
            query={"profile": "SAS"},
            groups=[relapsing(10, 20, 30), staying_normal(80)],
            expect={"time normal: median": 25, "named convention plateau": "not_reached"},
        ),
        Case(
            says="SAS gives no median of a half that no event ends",
            query={"profile": "SAS"},
            groups=[*PLATEAU],
            expect={"time normal: median": "not_reached"},
        ),
    ),
)

SURVIVAL_INTERVAL = Rule(
    row="CI of S(t) and of the median",
    name="Interval of the curve and of its median",
    words="Greenwood's variance on the scale `log-log` (the default), `log` or `plain`; the limits of the median are "
    "taken from the same band. The values are those of R.",
    cases=(
        Case(
            says="log-log",
            groups=[*AML],
            expect={
                "share still normal from 23 days on": (0.6136363636364, 0.2657520400013, 0.8352992432502),
                "time normal: interval of the median": (13, None),
                "time normal: method of the interval": "brookmeyer-crowley/log-log",
                "named convention interval": "log-log",
            },
        ),
        Case(
            says="log",
            query={"interval": "log"},
            groups=[*AML],
            expect={
                "share still normal from 23 days on": (0.6136363636364, 0.3768670595017, 0.9991576002285),
                "time normal: interval of the median": (18, None),
                "named convention interval": "log",
            },
        ),
        Case(
            says="plain",
            query={"interval": "plain"},
            groups=[*AML],
            expect={
                "share still normal from 23 days on": (0.6136363636364, Rounded(0.314482), Rounded(0.91279)),
                "time normal: interval of the median": (18, 48),
                "named convention interval": "plain",
            },
        ),
    ),
)

ZERO_CHANGES = (0, 0, 0, -3, 1, 2, 4, 5)

ZEROS = Rule(
    row="signed-rank zeros",
    name="Zeros in the signed rank test",
    words="`drop` (the default; R and SAS): differences of zero are left out before ranking. `pratt`: they are "
    "ranked and then left out, so that the other ranks are higher.",
    cases=(
        Case(
            says="dropped before ranking: 10 of 32 patterns of signs",
            groups=[changing("MMT", 50, w1=ZERO_CHANGES)],
            expect={
                "MMT week 1: signed-rank p": 10 / 32,
                "MMT week 1: signed-rank test": "wilcoxon_exact",
                "MMT week 1: zeros": 3,
                "named convention zeros": "drop",
            },
        ),
        Case(
            says="dropped after ranking: 8 of 32 patterns of signs",
            query={"zeros": "pratt"},
            groups=[changing("MMT", 50, w1=ZERO_CHANGES)],
            expect={
                "MMT week 1: signed-rank p": 8 / 32,
                "MMT week 1: signed-rank test": "wilcoxon_exact_pratt",
                "MMT week 1: zeros": 3,
                "named convention zeros": "pratt",
            },
        ),
        Case(
            says="without zeros the choice does not matter",
            query={"zeros": "pratt"},
            groups=[changing("MMT", 50, w1=ZERO_CHANGES[3:])],
            expect={"MMT week 1: signed-rank p": 10 / 32},
        ),
    ),
)

TIED_CHANGES = (1, 1, 2, 3, -1, 4, 5, 6, 7, 8, 9, 10, 11, 12, -2)
"""V = 114.5; R 4.2.2, wilcox.test(exact = FALSE), p = 0.0025848 with and 0.0023527 without continuity correction."""
UNTIED_CHANGES = (1, -2, 3, 4, 5, 6, 7)


def _tied(method: str, test: str, p: float) -> Case:
    return Case(
        says=f"15 differences with ties by {method}",
        query={"signed_rank_p": method},
        groups=[changing("MMT", 50, w1=TIED_CHANGES)],
        expect={
            "MMT week 1: signed-rank p": Rounded(p),
            "MMT week 1: signed-rank test": test,
            "named convention signed_rank_p": method,
        },
    )


SIGNED_RANK_P = Rule(
    row="signed-rank p",
    name="p of the signed rank test",
    words="`exact` (the default): over all patterns of signs, also with ties, up to 50 differences that are not zero; "
    "above that like `normal_corrected`. `exact_unless_tied` (R's default): exact with fewer than 50 differences if "
    "none are tied or zero, otherwise like `normal_corrected`. `normal_corrected` and `normal`: from the normal "
    "distribution with correction for ties, with and without continuity correction.",
    cases=(
        _tied("exact", "wilcoxon_exact", 0.001038),
        _tied("exact_unless_tied", "wilcoxon_normal_corrected", 0.002585),
        _tied("normal_corrected", "wilcoxon_normal_corrected", 0.002585),
        _tied("normal", "wilcoxon_normal", 0.002353),
        Case(
            says="without ties and zeros exact_unless_tied is exact",
            query={"signed_rank_p": "exact_unless_tied"},
            groups=[changing("MMT", 50, w1=UNTIED_CHANGES)],
            expect={"MMT week 1: signed-rank p": 6 / 128, "MMT week 1: signed-rank test": "wilcoxon_exact"},
        ),
        Case(
            says="one zero among them is enough for the normal distribution",
            query={"signed_rank_p": "exact_unless_tied"},
            groups=[changing("MMT", 50, w1=(*UNTIED_CHANGES, 0))],
            expect={"MMT week 1: signed-rank test": "wilcoxon_normal_corrected"},
        ),
        Case(
            says="if all differences are zero, p = 1 by each of them",
            query={"signed_rank_p": "normal"},
            groups=[changing("MMT", 50, w1=(0, 0, 0))],
            expect={"MMT week 1: signed-rank p": 1},
        ),
    ),
)

PROFILE = Rule(
    row="profile",
    name="Conventions of a package",
    words="`profile=R`, `SAS` or `lifelines` sets each convention that the package has to the default that the "
    "package documents. The other conventions stay as declared. A convention that is requested together with the "
    "profile takes precedence over it. An error of a package is never imitated. The answer lists the conventions that "
    "were set, those that could not be checked against the package or its documentation (`unverified`), and those "
    "that the package does not offer.",
    cases=(
        Case(
            says="R uses the logarithm for the interval, and the normal distribution if ranks are tied",
            query={"profile": "R"},
            groups=[changing("MMT", 50, w1=TIED_CHANGES)],
            expect={
                "MMT week 1: signed-rank p": Rounded(0.002585),
                "named convention interval": "log",
                "named convention median": "midpoint",
            },
        ),
        Case(
            says="lifelines uses the first time with half or less left",
            query={"profile": "lifelines"},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 200, "named convention multiplicity": "holm"},
        ),
        Case(
            says="also if lifelines itself gives another result: 4 for the times 1 to 6",
            query={"profile": "lifelines"},
            groups=[relapsing(1, 2, 3, 4, 5, 6)],
            expect={"time normal: median": 3},
        ),
        Case(
            says="SAS uses the midpoint and does not adjust p values by default",
            query={"profile": "SAS"},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 250, "named convention multiplicity": "none"},
        ),
        Case(
            says="a convention that is requested with the profile takes precedence over it",
            query={"profile": "R", "interval": "plain"},
            groups=[relapsing(100, 200, 300, 400)],
            expect={"time normal: median": 250, "named convention interval": "plain"},
        ),
    ),
)

FOURTEEN = (
    alike(14, "with MMT 50, then 60", mmt=[(0, 50), (28, 60)]),
    alike(1, "with MMT 50, then 50", mmt=[(0, 50), (28, 50)]),
)


def _interval(method: str, low: float, high: float) -> Case:
    return Case(
        says=f"14 of 15 by {method}",
        query={"proportion": method},
        groups=FOURTEEN,
        expect={
            "first interval of the MMT rate": (method, Rounded(low), Rounded(high)),
            "named convention proportion": method,
        },
    )


PROPORTION = Rule(
    row="proportion CI",
    name="Interval of a proportion",
    words="`clopper-pearson` (exact, the default), `wilson` (score, without continuity correction), `jeffreys` "
    "(equal-tailed posterior) or `mid-p`. The answer always has Wilson's interval in addition to the chosen one.",
    cases=(
        _interval("clopper-pearson", 0.6805, 0.9983),
        _interval("wilson", 0.7018, 0.9881),
        _interval("jeffreys", 0.7282, 0.9927),
        _interval("mid-p", 0.7127, 0.9967),
        Case(
            says="the answer also has Wilson's interval",
            query={"proportion": "jeffreys"},
            groups=FOURTEEN,
            expect={"second interval of the MMT rate": ("wilson", Rounded(0.7018), Rounded(0.9881))},
        ),
    ),
)

WEEKS = changing(
    "MMT",
    50,
    w1=(1, 2, -3, 4, 5, 6, 7, 8),
    w2=(1, -2, 3, 4, 5, 6, 7, 8),
    w4=(-1, 2, 3, 4, 5, 6, 7, 8),
    w8=(1, 2, 3, 4, 5, 6, 7, 8),
)
"""p = 10, 6, 4 and 2 of 256."""


def _adjusted(method: str, *p: float) -> Case:
    return Case(
        says=f"p of 10, 6, 4 and 2 in 256 by {method}",
        query={"multiplicity": method},
        groups=[WEEKS],
        expect={f"MMT week {week}: adjusted p": each / 256 for week, each in zip((1, 2, 4, 8), p, strict=True)}
        | {"MMT week 1: adjustment": method, "named convention multiplicity": method},
    )


GAP = changing("MMT", 50, w1=(1, 2, 3, 4, 5, 6, 7, 8), w2=(1, 2, 3, 4, 5, 6, 7, 8), w8=(1, 2, 3, 4, 5, 6, 7, 8))

MULTIPLICITY = Rule(
    row="multiplicity",
    name="Several weeks",
    words="`holm` (the default) and `hochberg` adjust over the weeks that have a p. `fixed_sequence_backward` tests "
    "the last week first, then the week before it, and stops at the first week that is not significant. `none` leaves "
    "every p unchanged.",
    cases=(
        _adjusted("holm", 12, 12, 12, 8),
        _adjusted("hochberg", 10, 10, 10, 8),
        _adjusted("fixed_sequence_backward", 10, 6, 4, 2),
        _adjusted("none", 10, 6, 4, 2),
        Case(
            says="in a fixed sequence a week cannot be more significant than a later one",
            query={"multiplicity": "fixed_sequence_backward"},
            groups=[
                changing(
                    "MMT",
                    50,
                    w1=(1, 2, 3, 4, 5, 6, 7, 8),
                    w2=(1, 2, 3, 4, 5, 6, 7, 8),
                    w4=(1, 2, -3, 4, 5, 6, 7, 8),
                    w8=(1, 2, 3, 4, 5, 6, 7, 8),
                )
            ],
            expect={"MMT week 2: adjusted p": 10 / 256, "MMT week 8: adjusted p": 2 / 256, "onset of MMT": 1},
        ),
        Case(
            says="in a fixed sequence a week without a p stops everything before it",
            query={"multiplicity": "fixed_sequence_backward"},
            groups=[GAP],
            expect={
                "MMT week 8: adjusted p": 2 / 256,
                "MMT week 2: adjusted p": "chain_broken",
                "MMT week 1: adjusted p": "chain_broken",
                "onset of MMT": 8,
            },
        ),
        Case(
            says="by Holm a week without a p does not stop the other weeks",
            groups=[GAP],
            expect={
                "MMT week 8: adjusted p": 6 / 256,
                "MMT week 2: adjusted p": 6 / 256,
                "MMT week 1: adjusted p": 6 / 256,
            },
        ),
    ),
)

RULES = (MEDIAN, PLATEAU_RULE, SURVIVAL_INTERVAL, ZEROS, SIGNED_RANK_P, PROPORTION, MULTIPLICITY, PROFILE)
