"""The same rate under every definition: thresholds, windows, baselines, sets of patients and missing values."""

from tests.spec.rule import Case, Rule, alike, on

LAST, MEAN, FIRST, WORST = (
    "last_on_or_before_day_0",
    "arithmetic_mean_before_dose",
    "first_before_dose",
    "worst_before_dose",
)
POINTS = [{"id": "points_better", "points": 5}]
PERCENT = [{"id": "percent_of_baseline", "percent_of_baseline": 70}]
ONLY_A_FALL = [{"id": "percent_of_baseline", "percent_of_baseline": 70, "or_normal": False}]
WEEK_4 = [{"id": "visit", "week": 4}]


def _grid(measure, **parts):
    own = {"measure": measure, "thresholds": PERCENT if measure == "CK" else POINTS, "windows": WEEK_4}
    return {"specification_grid": {"measures": [own | {"baselines": [LAST]} | parts]}}


GRID = Rule(
    row="specification curve",
    name="Every definition of response",
    words="A protocol may declare a grid of alternative definitions; each combination of a threshold, a window, a "
    "baseline, a set of patients and a rule for missing values is one definition. The answer gives the rate under "
    "each of them and marks the primary rule of the protocol, which is added if the grid does not have it. If a "
    "protocol has no grid, a default grid is used, and the answer says so. Definitions that count the same patients "
    "with the same result for each are one row.",
    cases=(
        Case(
            says="the primary rules are marked",
            reference=True,
            expect={
                "declared MMT definition": "14 of 15",
                "declared ADL definition": "12 of 15",
                "declared CK definition": "15 of 15",
                "the grid was declared": False,
                "caveat many_definitions in specification-curve": True,
            },
        ),
        Case(
            says="a primary rule that the grid lacks is added to it",
            changes=_grid("MMT"),
            mmt=[(0, 50), (14, 55), (28, 54)],
            expect={
                "declared MMT definition": "1 of 1",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, left_out": "0 of 1",
                "MMT response definitions": 3,
                "MMT response rows": 2,
                "the grid was declared": True,
            },
        ),
        Case(
            says="definitions that differ for no patient are one row",
            changes=_grid("MMT", baselines=[LAST, MEAN, FIRST, WORST]),
            mmt=[(0, 50), (14, 60), (28, 60)],
            expect={"MMT response definitions": 9, "MMT response rows": 1},
        ),
        Case(says="a threshold of more points than the scale has", changes=_grid("MMT", thresholds=[
            {"id": "points_better", "points": 101}]), refused="contradiction"),
        Case(says="a window that begins on day 0", changes=_grid("MMT", windows=[
            {"id": "days", "days": [0, 59], "value": "best"}]), refused="contradiction"),
        Case(says="a week that is no planned visit", changes=_grid("MMT", windows=[
            {"id": "visit", "week": 3}]), refused="contradiction"),
        Case(says="the same threshold twice", changes=_grid("MMT", thresholds=POINTS * 2), refused="contradiction"),
        Case(says="a threshold of CK for a score", changes=_grid("MMT", thresholds=PERCENT), refused="contradiction"),
    ),
)  # fmt: skip

BASELINES = Rule(
    row="baseline rules",
    name="Other baselines than the declared one",
    words="Instead of the last value on or before day 0 a definition may use the mean of all values before the dose "
    "(arithmetic, or geometric for CK), the first of them, or the worst: the highest CK or the worst score. "
    "`look_back_days` limits how old these values may be. Comparisons with a mean use the decimals as written. A mean "
    "of CK is normal if it is not above the upper limit of its last value. A mean that contains a value known only to "
    "be below a bound proves no fall.",
    cases=(
        Case(
            says="from the last value 5 points, from the mean 10",
            changes=_grid("MMT", thresholds=[{"id": "points_better", "points": 10}], baselines=[LAST, MEAN]),
            mmt=[(-28, 40), (0, 50), (28, 55)],
            expect={
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, left_out": "0 of 1",
                "MMT by definition: points_better, visit, arithmetic_mean_before_dose, efficacy, left_out": "1 of 1",
            },
        ),
        Case(
            says="the first value and the worst value need not be the same",
            changes=_grid("MMT", thresholds=[{"id": "points_better", "points": 15}], baselines=[FIRST, WORST]),
            mmt=[(-28, 45), (-14, 40), (0, 50), (28, 55)],
            expect={
                "MMT by definition: points_better, visit, first_before_dose, efficacy, left_out": "0 of 1",
                "MMT by definition: points_better, visit, worst_before_dose, efficacy, left_out": "1 of 1",
            },
        ),
        Case(
            says="a worst value before `look_back_days` is not used",
            changes={
                "specification_grid": {
                    **_grid("MMT", thresholds=[{"id": "points_better", "points": 15}], baselines=[WORST])[
                        "specification_grid"
                    ],
                    "look_back_days": 13,
                }
            },
            mmt=[(-14, 40), (0, 50), (28, 55)],
            expect={"MMT by definition: points_better, visit, worst_before_dose, efficacy, left_out": "0 of 1"},
        ),
        Case(
            says="0.14 is exactly 70 % of the geometric mean of 0.1, 0.2 and 0.4, though not to a binary computer",
            changes=_grid("CK", thresholds=ONLY_A_FALL, baselines=["geometric_mean_before_dose", MEAN]),
            limit=0.05,
            ck=[(-28, 0.1), (-14, 0.4), (0, 0.2), (28, 0.14)],
            expect={
                "CK by definition: percent_of_baseline, visit, geometric_mean_before_dose, efficacy, left_out":
                "1 of 1",
            },
        ),
        Case(
            says="a little more than that is not a response",
            changes=_grid("CK", thresholds=ONLY_A_FALL, baselines=["geometric_mean_before_dose"]),
            limit=0.05,
            ck=[(-28, 0.1), (-14, 0.4), (0, 0.2), (28, 0.140001)],
            expect={
                "CK by definition: percent_of_baseline, visit, geometric_mean_before_dose, efficacy, left_out":
                "0 of 1",
            },
        ),
        Case(
            says="a mean within the last upper limit cannot become normal; the last value can",
            changes=_grid("CK", baselines=[LAST, MEAN]),
            ck=[(-28, 150), (0, 250), (28, 150)],
            expect={
                "CK by definition: percent_of_baseline, visit, last_on_or_before_day_0, efficacy, left_out": "1 of 1",
                "CK by definition: percent_of_baseline, visit, arithmetic_mean_before_dose, efficacy, left_out":
                "0 of 0",
            },
        ),
        Case(
            says="a mean with a value below 2000 in it is not known to be abnormal",
            changes=_grid("CK", baselines=[LAST, MEAN]),
            ck=[on(-28, 2000, sign="<"), (0, 1000), (28, 700)],
            expect={
                "CK by definition: percent_of_baseline, visit, last_on_or_before_day_0, efficacy, left_out": "1 of 1",
                "CK by definition: percent_of_baseline, visit, arithmetic_mean_before_dose, efficacy, left_out":
                "0 of 0",
            },
        ),
        Case(
            says="a geometric mean of scores is refused",
            changes=_grid("MMT", baselines=["geometric_mean_before_dose"]),
            refused="contradiction",
        ),
    ),
)  # fmt: skip

_THREE = [
    alike(1, "who responded", mmt=[(0, 50), (28, 60)]),
    alike(1, "with a visit at week 1 only", mmt=[(0, 50), (7, 60)]),
    alike(1, "without any record after the infusion"),
]

MISSING = Rule(
    row="missing values",
    name="Who is counted, and what is missing",
    words="`left_out` counts the patients of the set who can be judged; `non_responder` counts all patients of the "
    "set, and a patient who cannot be judged counts as not responding. The sets are the efficacy set, the safety set, "
    "and the complete cases: the patients whom every definition of the measure can judge.",
    cases=(
        Case(
            says="left out or counted as no response, in the efficacy set and in the safety set",
            groups=_THREE,
            changes=_grid("MMT", analysis_sets=["efficacy", "safety"]),
            expect={
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, left_out": "1 of 1",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, non_responder": "1 of 2",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, safety, left_out": "1 of 1",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, safety, non_responder": "1 of 3",
            },
        ),
        Case(
            says="complete cases have a value in every window",
            groups=_THREE,
            changes=_grid(
                "MMT", windows=[{"id": "visit", "week": 1}, *WEEK_4], analysis_sets=["efficacy", "complete_case"]
            ),
            expect={
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, left_out": "1 of 1",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, complete_case, left_out": "0 of 0",
            },
        ),
        Case(
            says="a patient at the maximum at baseline cannot improve: left out, or counted as no response",
            mmt=[(0, 100), (28, 100)],
            changes=_grid("MMT"),
            expect={
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, left_out": "0 of 0",
                "MMT by definition: points_better, visit, last_on_or_before_day_0, efficacy, non_responder": "0 of 1",
            },
        ),
    ),
)

_REMISSIONS = [{"id": "ck_normal"}, {"id": "ck_normal", "sustained": True}]

REMISSION = Rule(
    row="remission",
    name="Remission",
    words="Remission of CK is a normal value in the window. For `sustained` remission the next CK of known normality "
    "must be normal, too; a last value without a later one is not sustained. If no value in the window has a known "
    "normality, remission cannot be judged. Remission of a score is the best end of its scale, or at most "
    "`within_points` from it. No remission is a primary rule, so none is marked.",
    cases=(
        Case(
            says="normal once",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), (28, 150), (56, 300)],
            expect={"CK remission": "1 of 1", "CK remission, sustained": "0 of 1"},
        ),
        Case(
            says="normal twice in a row, the second time after the window",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), (28, 150), (56, 200)],
            expect={"CK remission": "1 of 1", "CK remission, sustained": "1 of 1"},
        ),
        Case(
            says="two normal CKs are consecutive also if a CK of unknown normality is between them",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), (28, 150), on(42, 150, limit=None), (56, 200)],
            expect={"CK remission": "1 of 1", "CK remission, sustained": "1 of 1"},
        ),
        Case(
            says="a normal and an abnormal CK are consecutive also if a CK of unknown normality is between them",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), (28, 150), on(42, 150, limit=None), (56, 300), (70, 150)],
            expect={"CK remission": "1 of 1", "CK remission, sustained": "0 of 1"},
        ),
        Case(
            says="normal at the last draw only",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), (28, 150)],
            expect={"CK remission": "1 of 1", "CK remission, sustained": "0 of 1"},
        ),
        Case(
            says="without an upper limit remission cannot be judged, but a fall can",
            changes=_grid("CK", remissions=_REMISSIONS),
            ck=[(0, 1000), on(28, 150, limit=None)],
            expect={
                "CK remission": "0 of 0",
                "CK by definition: percent_of_baseline, visit, last_on_or_before_day_0, efficacy, left_out": "1 of 1",
            },
        ),
        Case(
            says="the best end of the scale, and near it",
            changes=_grid(
                "MMT",
                remissions=[{"id": "best_end_of_scale"}],
                windows=[{"id": "days", "days": [1, 59], "value": "best"}],
            ),
            groups=[
                alike(2, "who reach 100", mmt=[(0, 50), (28, 100), (56, 90)]),
                alike(1, "who reaches 99.9", mmt=[(0, 50), (28, 99.9)]),
            ],
            expect={"MMT remission": "2 of 3"},
        ),
        Case(
            says="within half a point of the best end",
            changes=_grid("MMT", remissions=[{"id": "best_end_of_scale", "within_points": 0.5}]),
            groups=[
                alike(1, "who reaches 99.5", mmt=[(0, 50), (28, 99.5)]),
                alike(1, "who reaches 99.4", mmt=[(0, 50), (28, 99.4)]),
            ],
            expect={"MMT remission": "1 of 2"},
        ),
    ),
)

RULES = (GRID, BASELINES, MISSING, REMISSION)
