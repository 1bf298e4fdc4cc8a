"""Laboratory results: unit, code, bound, status, upper limit of normal."""

import math

from tests.spec.rule import Case, Rule, alike, infused, on


def _unit(unit: str, value: float, activity: float) -> Case:
    return Case(
        says=f"{value:g} {unit.replace(chr(0xB5), 'u')} are {activity:g} U/L",
        ck=[on(0, value, unit=unit, limit=None)],
        expect={"CK at baseline": activity},
    )


def _refused(unit: str | None, code: str, why: str) -> Case:
    return Case(says=why, ck=[on(0, 5, unit=unit)], refused=code)


UNITS = Rule(
    row="units",
    name="Units",
    words="CK activity is computed in U/L; the value and unit as sent are stored, too. 1 ukat/L is 60 U/L and 1 "
    "nkat/L is 0.06 U/L, exactly; IU/L and [IU]/L are accepted as other names of U/L. A mass concentration is "
    "refused: it is CK-MB or another assay. A missing unit is never guessed.",
    cases=(
        _unit("U/L", 198, 198),
        _unit("ukat/L", 3.3, 198),
        _unit("\u00b5kat/L", 1, 60),
        _unit("nkat/L", 3300, 198),
        _unit("nkat/L", 1, 0.06),
        _unit("mU/mL", 198, 198),
        _unit("U/mL", 0.198, 198),
        _unit("IU/L", 198, 198),
        _unit("[IU]/L", 198, 198),
        Case(
            says="the upper limit has the unit of its value: 3.3 with a limit of 3.3 ukat/L is normal",
            ck=[(0, 1000), on(7, 3.3, unit="ukat/L", limit=3.3)],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="3.31 with a limit of 3.3 ukat/L is not normal",
            ck=[(0, 1000), on(7, 3.31, unit="ukat/L", limit=3.3)],
            expect={"first normal CK on day": "never_normal"},
        ),
        Case(
            says="a fall is judged across units: 11.69 ukat/L are 70.14 % of 1000 U/L",
            ck=[(0, 1000), on(28, 11.69, unit="ukat/L", limit=3)],
            expect={"CK responder": False},
        ),
        Case(
            says="a fall is judged across units: 21 ukat/L are 70 % of 1800 U/L",
            ck=[(0, 1800), on(28, 21, unit="ukat/L", limit=3)],
            expect={"CK responder": True},
        ),
        _refused("ng/mL", "mass_unit", "nanograms per millilitre are refused as a mass"),
        _refused("mcg/L", "mass_unit", "micrograms per litre are refused as a mass"),
        _refused("ug/L", "mass_unit", "the other spelling of micrograms is refused, too"),
        _refused("U", "unknown_unit", "a unit that is not in the table is refused"),
        _refused(None, "unknown_unit", "a missing unit is refused, not guessed"),
        Case(
            says="myoglobin is a mass, and its activity is refused",
            others={"MYOGLOBIN": [on(0, 500, unit="U/L", limit=None)]},
            refused="unit_mismatch",
        ),
        Case(
            says="myoglobin as a mass is accepted",
            others={"MYOGLOBIN": [on(0, 500, unit="ng/mL", limit=None)]},
            expect={"MYOGLOBIN at baseline": 500},
        ),
    ),
)

CODES = Rule(
    row="LOINC",
    name="Codes",
    words="CK has the name CK or the LOINC code 2157-6. In formats that name the system of a code, a code is read "
    "only with the system of LOINC; our own format has no other system. A code that is not in the table is refused, "
    "never guessed.",
    cases=(
        Case(says="2157-6 is CK", others={"2157-6": [(0, 1000)]}, expect={"CK at baseline": 1000}),
        Case(
            says="2157-6 and CK are one measure",
            ck=[(0, 1000)],
            others={"2157-6": [(28, 700)]},
            expect={"CK responder": True},
        ),
        Case(
            says="a ratio of CK-MB to CK is not CK and is refused",
            others={"2158-4": [(0, 1000)]},
            refused="unknown_code",
        ),
    ),
)


def _normality(sign: str, bound: float, verdict: str, undetermined: int) -> Case:
    spoken = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}[sign]
    meaning = {
        "from day 7, 0 days, censored": "normal",
        "never_normal": "not normal",
        "normality_unknown": "undetermined",
    }[verdict]
    return Case(
        says=f"{spoken} {bound:g} with a limit of 200 is {meaning}",
        ck=[(0, 1000), on(7, bound, sign=sign)],
        expect={"normal CK": verdict, "flag undetermined of CK": undetermined},
    )


COMPARATORS = Rule(
    row="comparators",
    name="Values known only as a bound",
    words='Bounds are stored as bounds. "Below x" is normal if x is at most the upper limit; "above x" is abnormal if '
    "x is at least the upper limit; otherwise normality is undetermined and counted. In the mean of changes of ln(CK) "
    "a bound is a bound: the mean is that of the normal distribution with the greatest likelihood (R `survreg`), its "
    "interval that of t with as many degrees of freedom as differences are known, less one. The rank test is made "
    "where the bounds leave one order of the absolute differences and one sign of each. Elsewhere, and in a "
    'sensitivity beside the mean, "below x" counts as x/2 and "above x" as x. Bounds are flagged.',
    cases=(
        _normality("<", 200, "from day 7, 0 days, censored", 0),
        _normality("<", 201, "normality_unknown", 1),
        _normality("<=", 200, "from day 7, 0 days, censored", 0),
        _normality("<=", 201, "normality_unknown", 1),
        _normality(">", 200, "never_normal", 0),
        _normality(">", 199, "normality_unknown", 1),
        _normality(">=", 201, "never_normal", 0),
        _normality(">=", 200, "normality_unknown", 1),
        Case(
            says="above the upper limit ends a normal time",
            ck=[(0, 1000), (21, 150), on(62, 200, sign=">")],
            expect={"normal CK": "from day 21, 41 days, then abnormal"},
        ),
        Case(
            says="an undetermined value neither ends nor prolongs a normal time",
            ck=[(0, 1000), (21, 150), on(62, 199, sign=">")],
            expect={"normal CK": "from day 21, 0 days, censored", "flag undetermined of CK": 1},
        ),
        Case(
            says="a bound without an upper limit is undetermined",
            ck=[(0, 1000), on(7, 10, sign="<", limit=None)],
            expect={"normal CK": "normality_unknown", "flag undetermined of CK": 1},
        ),
        Case(
            says="an undetermined baseline leaves a patient out of the risk set",
            ck=[on(0, 300, sign="<"), (7, 150)],
            expect={"normal CK": "baseline_normality_unknown"},
        ),
        Case(
            says="below 200 is a bound in the mean of ln(CK); R gives -1.216095 with standard error 0.242476",
            groups=[
                alike(1, "with CK 1000, then 500 on day 28", ck=[(0, 1000), (28, 500)]),
                alike(1, "with CK 1000, then 250 on day 28", ck=[(0, 1000), (28, 250)]),
                alike(1, "with CK 1000, then 400 on day 28", ck=[(0, 1000), (28, 400)]),
                alike(1, "with CK 1000, then &lt;200 on day 28", ck=[(0, 1000), on(28, 200, sign="<")]),
            ],
            expect={
                "CK week 4: mean": -1.2160950977909,
                "CK week 4: standard error of the mean": 0.2424762879175,
                "CK week 4: bounds from above, from below": (1, 0),
                "CK week 4: mean with substitutes": math.log(0.5 * 0.25 * 0.4 * 0.1) / 4,
                "CK week 4: signed-rank p": 0.125,
                "CK week 4: Hodges-Lehmann": "hidden_by_bounds",
                "flag comparator of CK": 1,
            },
        ),
        Case(
            says="above 2000 is a bound, too; R gives -0.450227 with standard error 0.521368",
            groups=[
                alike(1, "with CK 1000, then 500 on day 28", ck=[(0, 1000), (28, 500)]),
                alike(1, "with CK 1000, then 250 on day 28", ck=[(0, 1000), (28, 250)]),
                alike(1, "with CK 1000, then 400 on day 28", ck=[(0, 1000), (28, 400)]),
                alike(1, "with CK 1000, then &gt;2000 on day 28", ck=[(0, 1000), on(28, 2000, sign=">")]),
            ],
            expect={
                "CK week 4: mean": -0.4502272961329,
                "CK week 4: standard error of the mean": 0.5213679121167,
                "CK week 4: bounds from above, from below": (0, 1),
                "CK week 4: signed-rank p": "hidden_by_bounds",
            },
        ),
        Case(
            says="a bound alone has no mean",
            ck=[(0, 1000), on(28, 200, sign="<")],
            expect={"CK week 4: ratio": "too_few_known", "CK in U/L week 4: mean": -900, "flag comparator of CK": 1},
        ),
        Case(
            says="one ratio that lies within every bound leaves the spread open",
            groups=[
                alike(2, "with CK 1000, then 100 on day 28", ck=[(0, 1000), (28, 100)]),
                alike(1, "with CK 1000, then &lt;200 on day 28", ck=[(0, 1000), on(28, 200, sign="<")]),
            ],
            expect={"CK week 4: mean": "spread_hidden", "CK week 4: signed-rank p": "hidden_by_bounds"},
        ),
        Case(
            says="a value without a bound counts as itself and is not flagged",
            ck=[(0, 1000), (28, 200)],
            expect={"CK week 4: ratio": 0.2, "flag comparator of CK": 0},
        ),
        Case(says="another sign is refused", ck=[on(0, 1000, sign="~")], refused="unknown_value"),
    ),
)


def _status(status: str, counts: bool) -> Case:
    return Case(
        says=f"a result with the status {status} {'counts' if counts else 'is withdrawn'}",
        ck=[(-7, 900), on(0, 1000, status=status)],
        expect={"CK at baseline": 1000 if counts else 900},
    )


STATUS = Rule(
    row="status",
    name="Preliminary, corrected and withdrawn results",
    words="Final, amended and corrected results count. A preliminary result counts until a newer statement arrives. "
    "The statuses entered-in-error and cancelled withdraw a result.",
    cases=(
        _status("final", True),
        _status("amended", True),
        _status("corrected", True),
        _status("preliminary", True),
        _status("entered-in-error", False),
        _status("cancelled", False),
        Case(
            says="a result that is withdrawn may come without its value",
            ck=[(-7, 900), on(0, None, unit=None, limit=None, status="cancelled")],
            expect={"CK at baseline": 900},
        ),
        Case(
            says="a result that is not withdrawn must have a value",
            ck=[on(0, None, unit=None, limit=None, status="final")],
            refused="missing",
        ),
        Case(
            says="a status that is not in the table is refused",
            ck=[on(0, 1000, status="draft")],
            refused="unknown_value",
        ),
        Case(
            says="a final result replaces the preliminary one of the same number",
            ck=[on(0, 1000, id="acc-1", status="preliminary"), on(0, 900, id="acc-1", status="final")],
            expect={"CK at baseline": 900, "flag duplicate_draw of CK": 0},
        ),
        Case(
            says="a correction replaces the final result of the same number",
            ck=[on(0, 1000, id="acc-1", status="final"), on(0, 900, id="acc-1", status="corrected")],
            expect={"CK at baseline": 900, "flag duplicate_draw of CK": 0},
        ),
        Case(
            says="a withdrawal removes the result of the same number",
            ck=[
                (-7, 900),
                on(0, 1000, id="acc-1"),
                on(0, None, unit=None, limit=None, id="acc-1", status="entered-in-error"),
            ],
            expect={"CK at baseline": 900},
        ),
    ),
)

OWN_LIMIT = Rule(
    row="upper limit",
    name="Upper limit of normal",
    words="Each result is judged by the upper limit that was sent with it. There is no default limit: a result "
    "without a limit cannot be called normal, and the answer gives the number of such results.",
    cases=(
        Case(
            says="with its limit a low CK is normal",
            ck=[(0, 1000), (7, 50)],
            expect={"first normal CK on day": 7, "flag no_upper_limit of CK": 0},
        ),
        Case(
            says="without a limit even a very low CK is not called normal",
            ck=[(0, 1000), on(7, 5, limit=None)],
            expect={
                "first normal CK on day": "normality_unknown",
                "flag no_upper_limit of CK": 1,
                "flag undetermined of CK": 1,
            },
        ),
        Case(
            says="without a limit even a very high CK is not called abnormal",
            ck=[(0, 1000), (21, 150), on(62, 9000, limit=None)],
            expect={"normal CK": "from day 21, 0 days, censored"},
        ),
        Case(
            says="the limits of two laboratories are not mixed",
            ck=[(0, 1000), on(7, 180, limit=170, lab="A"), on(14, 180, limit=190, lab="B")],
            expect={"first normal CK on day": 14},
        ),
        Case(
            says="a limit that changes at one laboratory applies from result to result",
            ck=[(0, 1000), on(7, 180, limit=190, lab="A"), on(14, 180, limit=170, lab="A")],
            expect={"normal CK": "from day 7, 7 days, then abnormal"},
        ),
    ),
)

NEAREST = {"upper_limit": "nearest_same_laboratory"}

BORROWED_LIMIT = Rule(
    row="nearest_same_laboratory",
    name="Borrowed upper limit",
    words="A protocol may allow a CK without a limit to use another limit of the same patient at the same laboratory: "
    "the one nearest in time, counted in days; of two equally near the earlier. Such values are flagged.",
    cases=(
        Case(
            says="by default no other limit is used",
            ck=[on(0, 1000, lab="A"), on(7, 150, lab="A", limit=None)],
            expect={"first normal CK on day": "normality_unknown", "flag no_upper_limit of CK": 1},
        ),
        Case(
            says="if the protocol allows it, the limit of the same laboratory is used and flagged",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A"), on(7, 150, lab="A", limit=None)],
            expect={"first normal CK on day": 7, "flag borrowed_upper_limit of CK": 1, "flag no_upper_limit of CK": 0},
        ),
        Case(
            says="the limit of another laboratory is not used",
            changes=NEAREST,
            ck=[on(0, 1000, lab="B"), on(7, 150, lab="A", limit=None)],
            expect={"first normal CK on day": "normality_unknown", "flag borrowed_upper_limit of CK": 0},
        ),
        Case(
            says="a result without a named laboratory uses no other limit",
            changes=NEAREST,
            ck=[on(0, 1000), on(7, 150, limit=None)],
            expect={"first normal CK on day": "normality_unknown", "flag borrowed_upper_limit of CK": 0},
        ),
        Case(
            says="the limit of another patient is not used",
            changes=NEAREST,
            groups=[
                alike(1, "of laboratory A with CK 1000 without a limit", ck=[on(0, 1000, lab="A", limit=None)]),
                alike(1, "of laboratory A with CK 1000 and a limit of 200", ck=[on(0, 1000, lab="A")]),
            ],
            expect={"flag borrowed_upper_limit of CK": 0, "flag no_upper_limit of CK": 1},
        ),
        Case(
            says="a result with its own limit keeps it",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A", limit=100), on(7, 150, lab="A", limit=200)],
            expect={"first normal CK on day": 7, "flag borrowed_upper_limit of CK": 0},
        ),
        Case(
            says="of several limits the nearest in time is used",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A", limit=100), on(8, 180, lab="A", limit=None), on(14, 900, lab="A", limit=200)],
            expect={"first normal CK on day": 8},
        ),
        Case(
            says="one day earlier the other limit is nearer",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A", limit=100), on(6, 180, lab="A", limit=None), on(14, 900, lab="A", limit=200)],
            expect={"first normal CK on day": "never_normal"},
        ),
        Case(
            says="of two equally near limits the earlier is used",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A", limit=100), on(7, 180, lab="A", limit=None), on(14, 900, lab="A", limit=200)],
            expect={"first normal CK on day": "never_normal"},
        ),
        Case(
            says="of two equally near limits the earlier is used, also if it is the higher",
            changes=NEAREST,
            ck=[on(0, 1000, lab="A", limit=200), on(7, 180, lab="A", limit=None), on(14, 900, lab="A", limit=100)],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="of two limits of one day the earlier by the clock is used, also if it is the higher",
            changes=NEAREST,
            ck=[
                on(0, 1000, at="08:00", lab="A", limit=200),
                on(0, 1000, at="16:00", lab="A", limit=100),
                on(7, 180, lab="A", limit=None),
            ],
            infusions=[infused(0, at="18:00")],
            expect={"first normal CK on day": 7},
        ),
    ),
)

RULES = (UNITS, CODES, COMPARATORS, STATUS, OWN_LIMIT, BORROWED_LIMIT)
