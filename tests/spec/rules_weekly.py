"""The change of a measure from baseline at each week, its onset, and the change of CK before and after treatment."""

from math import exp, log

from tests.spec.rule import Case, Group, Patient, Rounded, Rule, alike, changing, on

SLEEP = (1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4)
"""R's `sleep`: hours of sleep gained, drug 2 minus drug 1, in ten patients (Cushny and Peebles 1905)."""
DARWIN = (6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75)
"""Darwin's 15 pairs of Zea mays, differences of height in eighths of an inch."""

UP = (1, 2, 3, 4, 5, 6, 7, 8)
"""Eight gains: p = 2/256."""
MIXED = (1, -2, 3, -4, 5, -6, 7, -8)
"""V = 16 of 36: far from any significance."""

TESTS = Rule(
    row="weekly change",
    name="Change by week",
    words="The change from baseline is tested at weeks 1, 2, 4 and 8 by the exact Wilcoxon signed rank test (zeros "
    "dropped, tied ranks shared) with the Hodges-Lehmann estimate, and also by the paired t test; all tests are "
    "two-sided. CK is compared as ln(CK), which gives a geometric mean ratio, and also in U/L. Differences are "
    "rounded to 12 significant digits before ranking. With more than 50 non-zero pairs the normal distribution with "
    "tie and continuity correction replaces the exact one.",
    cases=(
        Case(
            says="R's sleep data: ties and a zero, counted exactly",
            groups=[changing("MMT", 50, w1=SLEEP)],
            expect={
                "MMT week 1: patients": 10,
                "MMT week 1: mean": 1.58,
                "MMT week 1: signed-rank test": "wilcoxon_exact",
                "MMT week 1: signed-rank p": 0.00390625,
                "MMT week 1: pairs used": 9,
                "MMT week 1: zeros": 1,
                "MMT week 1: t": 4.062127683382,
                "MMT week 1: t test p": 0.002832890197384,
                "MMT week 1: interval of the mean": (0.700114236723, 2.459885763277),
            },
        ),
        Case(
            says="Darwin's pairs: no ties, Hodges-Lehmann 25",
            groups=[changing("CK", 1000, w1=DARWIN)],
            expect={
                "CK in U/L week 1: signed-rank p": 0.041259765625,
                "CK in U/L week 1: Hodges-Lehmann": 25,
                "CK in U/L week 1: Hodges-Lehmann interval": (4, 41.5),
                "CK in U/L week 1: t test p": Rounded(0.0497029),
            },
        ),
        Case(
            says="six gains of six can be significant",
            groups=[changing("ADL", 20, w1=UP[:6])],
            expect={"ADL week 1: signed-rank p": 0.03125},
        ),
        Case(
            says="five gains of five cannot be significant: no pattern of five signs is rare enough",
            groups=[changing("ADL", 20, w1=UP[:5])],
            expect={"ADL week 1: signed-rank p": 0.0625, "ADL week 1: Hodges-Lehmann interval": "level_not_attainable"},
        ),
        Case(
            says="six losses of six are as significant as six gains",
            groups=[changing("ADL", 20, w1=[-change for change in UP[:6]])],
            expect={"ADL week 1: signed-rank p": 0.03125},
        ),
        Case(
            says="patients without change are dropped from the ranks, not from the mean",
            groups=[changing("MMT", 50, w1=(*UP[:6], 0, 0))],
            expect={
                "MMT week 1: patients": 8,
                "MMT week 1: mean": 21 / 8,
                "MMT week 1: pairs used": 6,
                "MMT week 1: zeros": 2,
                "MMT week 1: signed-rank p": 0.03125,
            },
        ),
        Case(
            says="0.3 - 0.1, 1.3 - 1.1 and 2.1 - 2.3 are tied, although binary arithmetic gives different numbers",
            groups=[
                alike(1, "with MMT 0.1, then 0.3", mmt=[(0, 0.1), (7, 0.3)]),
                alike(1, "with MMT 1.1, then 1.3", mmt=[(0, 1.1), (7, 1.3)]),
                alike(1, "with MMT 2.3, then 2.1", mmt=[(0, 2.3), (7, 2.1)]),
            ],
            expect={"MMT week 1: signed-rank p": 1},
        ),
        Case(
            says="differences that do differ are not tied",
            groups=[
                alike(1, "with MMT 0.1, then 0.4", mmt=[(0, 0.1), (7, 0.4)]),
                alike(1, "with MMT 1.1, then 1.4", mmt=[(0, 1.1), (7, 1.4)]),
                alike(1, "with MMT 2.3, then 2.1", mmt=[(0, 2.3), (7, 2.1)]),
            ],
            expect={"MMT week 1: signed-rank p": 0.5},
        ),
        Case(
            says="50 non-zero pairs are counted exactly",
            groups=[
                alike(50, "with MMT 50, then 51", mmt=[(0, 50), (7, 51)]),
                alike(9, "with MMT 50 twice", mmt=[(0, 50), (7, 50)]),
            ],
            expect={"MMT week 1: signed-rank test": "wilcoxon_exact", "MMT week 1: pairs used": 50},
        ),
        Case(
            says="51 non-zero pairs are tested by the normal distribution",
            groups=[alike(51, "with MMT 50, then 51", mmt=[(0, 50), (7, 51)])],
            expect={"MMT week 1: signed-rank test": "wilcoxon_normal_corrected", "MMT week 1: pairs used": 51},
        ),
        Case(
            says="if CK halves in all patients, the ratio is one half",
            groups=[
                alike(2, "with CK 1000, then 500", ck=[(0, 1000), (7, 500)]),
                alike(2, "with CK 3000, then 1500", ck=[(0, 3000), (7, 1500)]),
            ],
            expect={"CK week 1: ratio": 0.5, "CK week 1: mean": log(0.5), "CK in U/L week 1: mean": -1000},
        ),
        Case(
            says="equal differences have a rank test but no t: their spread is 0",
            groups=[alike(6, "with MMT 50, then 53", mmt=[(0, 50), (7, 53)])],
            expect={
                "MMT week 1: mean": 3,
                "MMT week 1: signed-rank p": 0.03125,
                "MMT week 1: t": "constant_differences",
                "MMT week 1: t test p": "constant_differences",
            },
        ),
        Case(
            says="differences that are all zero have p = 1 and no Hodges-Lehmann estimate",
            groups=[alike(6, "with MMT 50 twice", mmt=[(0, 50), (7, 50)])],
            expect={
                "MMT week 1: mean": 0,
                "MMT week 1: signed-rank p": 1,
                "MMT week 1: Hodges-Lehmann": "all_differences_zero",
            },
        ),
        Case(
            says="one patient has a difference but neither spread nor t",
            mmt=[(0, 50), (7, 53)],
            expect={
                "MMT week 1: patients": 1,
                "MMT week 1: mean": 3,
                "MMT week 1: signed-rank p": 1,
                "MMT week 1: t": "too_few_values",
            },
        ),
        Case(
            says="without patients there is no result, and the answer gives the reason",
            mmt=[(0, 50), (14, 53)],
            expect={
                "MMT week 1: patients": 0,
                "MMT week 1: mean": "no_patients",
                "MMT week 1: signed-rank p": "no_patients",
                "MMT week 1: t test p": "no_patients",
                "left out of MMT week 1": "no_value_in_window",
            },
        ),
        Case(
            says="a difference needs a baseline",
            mmt=[(7, 53)],
            expect={"MMT week 1: patients": 0, "left out of MMT week 1": "no_baseline"},
        ),
        Case(
            says="a CK of 0 has no logarithm: it is left out of ln(CK), not of U/L",
            ck=[(0, 1000), (7, 0)],
            expect={
                "CK week 1: patients": 0,
                "left out of CK week 1": "zero_value",
                "CK in U/L week 1: patients": 1,
                "left out of CK in U/L week 1": None,
            },
        ),
    ),
)

ONSET = Rule(
    row="weekly change",
    name="Adjustment over the weeks, and onset",
    words="The p values of a measure are adjusted by Holm over the weeks that have a p value. The onset is the first "
    "week from which every week up to the last, itself included, is significant by the adjusted Wilcoxon test at the "
    "protocol's alpha of 0.05. The requested level sets the intervals only.",
    cases=(
        Case(
            says="four weeks with p = 2/256 are each multiplied by four",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=UP)],
            expect={"MMT week 1: adjusted p": 0.03125, "MMT week 1: adjustment": "holm", "onset of MMT": 1},
        ),
        Case(
            says="only weeks that have a p count: with two of them the factor is two",
            groups=[changing("MMT", 50, w4=UP, w8=UP)],
            expect={"MMT week 8: adjusted p": 0.015625, "MMT week 1: adjusted p": "no_patients", "onset of MMT": 4},
        ),
        Case(
            says="if the first week has no effect, the onset is the second week",
            groups=[changing("MMT", 50, w1=MIXED, w2=UP, w4=UP, w8=UP)],
            expect={"MMT week 1: adjusted p": 0.84375, "onset of MMT": 2},
        ),
        Case(
            says="a single significant week is not an onset: all later weeks must be significant",
            groups=[changing("MMT", 50, w1=UP, w2=MIXED, w4=UP, w8=UP)],
            expect={"MMT week 1: adjusted p": 0.03125, "onset of MMT": 4},
        ),
        Case(
            says="without significance at the last week there is no onset",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=MIXED)],
            expect={"onset of MMT": "last_week_not_significant"},
        ),
        Case(
            says="without a p at the last week there is no onset",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP)],
            expect={"onset of MMT": "last_week_without_p"},
        ),
        Case(
            says="a week without a p interrupts the sequence",
            groups=[changing("MMT", 50, w1=UP, w2=UP, w8=UP)],
            expect={"onset of MMT": 8},
        ),
        Case(
            says="seven gains of seven in four weeks are not significant after adjustment",
            groups=[changing("MMT", 50, w1=UP[:7], w2=UP[:7], w4=UP[:7], w8=UP[:7])],
            expect={
                "MMT week 8: signed-rank p": 0.015625,
                "MMT week 8: adjusted p": 0.0625,
                "onset of MMT": "last_week_not_significant",
            },
        ),
        Case(
            says="an adjusted p equal to alpha is significant",
            changes={"weekly_change": {"alpha": 0.03125}},
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=UP)],
            expect={"onset of MMT": 1},
        ),
        Case(
            says="an adjusted p above alpha is not",
            changes={"weekly_change": {"alpha": 0.03}},
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=UP)],
            expect={"onset of MMT": "last_week_not_significant"},
        ),
        Case(
            says="the level of the intervals does not move the onset",
            query={"level": 0.999},
            groups=[changing("MMT", 50, w1=UP, w2=UP, w4=UP, w8=UP)],
            expect={"onset of MMT": 1},
        ),
        Case(
            says="CK has an onset on the logarithm and one in U/L",
            groups=[changing("CK", 1000, w8=[-100 * each for each in UP])],
            expect={"onset of CK": 8, "onset of CK in U/L": 8},
        ),
        Case(
            says="the Wilcoxon test decides, also if the t test is not significant",
            groups=[changing("MMT", 20, w8=(1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 75))],
            changes={"weekly_change": {"weeks": [8]}},
            expect={"MMT week 8: signed-rank p": 0.0078125, "MMT week 8: t test p": Rounded(0.291), "onset of MMT": 8},
        ),
    ),
)


def _contrasts(*halvings: int) -> Group:
    words = f"CK 1024 at week -4 and at baseline, then halved {', '.join(map(str, halvings))} times by week 4"
    return Group(words, tuple(Patient(ck=[(-28, 1024), (0, 1024), (28, 1024 / 2**h)], limit=1) for h in halvings))


BEFORE_AFTER = Rule(
    row="before/after CK",
    name="CK before and after",
    words="For each patient with a CK at week -4, at baseline and at week 4, D is the change of ln(CK) after "
    "treatment minus the change before it: ln C(4) - 2 ln C(0) + ln C(-4). D is tested by the one-sample t test and "
    "by the exact Wilcoxon test. The exp of the means are geometric mean ratios before and after, and their ratio. "
    "The answer has caveats for the uncontrolled comparison and for selection on the baseline.",
    cases=(
        Case(
            says="level before, halved after",
            ck=[(-28, 1000), (0, 1000), (28, 500)],
            expect={
                "before/after: patients": 1,
                "before/after: ratio before": 1,
                "before/after: ratio after": 0.5,
                "before/after: ratio of ratios": 0.5,
                "before/after: mean": log(0.5),
            },
        ),
        Case(
            says="a rise before counts as much as a fall after",
            ck=[(-28, 500), (0, 1000), (28, 500)],
            expect={
                "before/after: ratio before": 2,
                "before/after: ratio after": 0.5,
                "before/after: ratio of ratios": 0.25,
            },
        ),
        Case(
            says="a fall that continues at the same rate is not a difference",
            ck=[(-28, 2000), (0, 1000), (28, 500)],
            expect={"before/after: ratio after": 0.5, "before/after: ratio of ratios": 1, "before/after: mean": 0},
        ),
        Case(
            says="five patients whose CK was halved once to five times: t is 3 times the square root of 2",
            groups=[_contrasts(1, 2, 3, 4, 5)],
            expect={
                "before/after: patients": 5,
                "before/after: ratio of ratios": 0.125,
                "before/after: t": -(18**0.5),
                "before/after: t test p": Rounded(0.0132),
                "before/after: signed-rank p": 0.0625,
                "before/after: signed-rank test": "wilcoxon_exact",
            },
        ),
        Case(
            says="without week -4 a patient is left out of this comparison",
            ck=[(0, 1000), (28, 500)],
            expect={"before/after: patients": 0, "before/after: left out": "no_value_in_window"},
        ),
        Case(
            says="without week 4 a patient is left out, too",
            ck=[(-28, 1000), (0, 1000), (24, 500)],
            expect={"before/after: patients": 0, "before/after: left out": "no_value_in_window"},
        ),
        Case(
            says="the value that is the baseline is not used for week -4",
            ck=[(-28, 1000), (28, 500)],
            expect={"before/after: patients": 0, "before/after: left out": "no_value_in_window"},
        ),
        Case(
            says="one patient has ratios but no interval",
            ck=[(-28, 1000), (0, 1000), (28, 500)],
            expect={"before/after: interval of the ratio of ratios": None, "before/after: t": "too_few_values"},
        ),
        Case(
            says="a CK of 0 has no logarithm",
            ck=[(-28, 1000), (0, 1000), (28, 0)],
            expect={"before/after: patients": 0, "before/after: left out": "zero_value"},
        ),
        Case(
            says="a CK below a bound is a bound in every change that it is part of, and is flagged",
            groups=[
                alike(1, "with CK 1000, 1000, then 500 on day 28", ck=[(-28, 1000), (0, 1000), (28, 500)]),
                alike(1, "with CK 1000, 1000, then 250 on day 28", ck=[(-28, 1000), (0, 1000), (28, 250)]),
                alike(1, "with CK 1000, 1000, then 400 on day 28", ck=[(-28, 1000), (0, 1000), (28, 400)]),
                alike(1, "with CK 1000, 1000, then &lt;200", ck=[(-28, 1000), (0, 1000), on(28, 200, sign="<")]),
            ],
            expect={
                "before/after: ratio before": 1,
                "before/after: ratio after": exp(-1.2160950977909),
                "before/after: mean": -1.2160950977909,
                "before/after: mean with substitutes": log(0.5 * 0.25 * 0.4 * 0.1) / 4,
                "flag comparator of CK": 1,
            },
        ),
        Case(
            says="the caveats are part of the answer",
            ck=[(-28, 1000), (0, 1000), (28, 500)],
            expect={
                "caveat uncontrolled_pre_post in ck-change": True,
                "caveat selection_on_baseline in ck-change": True,
                "caveat selection_on_baseline in adverse-reactions": False,
            },
        ),
    ),
)

RULES = (TESTS, ONSET, BEFORE_AFTER)
