"""A second implementation of the derivations: slow, obvious, one patient at a time, written from docs/definitions.md
alone.

No code is shared with `app.derive`; only the cohort's columns and the protocol are. Numbers are compared as exact
fractions of the decimals that were written, days are integers, and nothing is remembered between two calls.

Input: `patients_of(cohort)` -> `[Patient]` in the cohort's order (missing is `None`). Every other function takes
`(patient, protocol)`, some also a measure (`"CK"` or an assessment code), a record or a rule.

What they return ("day" is relative to day 0 wherever it is not called a date; dates are days since 1970-01-01):

`course`       `Treatment`: `treated`, `date` of day 0, `instant` of the first infusion or `None`,
               `courses`: `[Course(product, first, last, infusions, number)]` in order of their start, first and last as
               dates, `second`: day of the second course or `None`,
               `disagreeing`: infusions whose sender's course number is not the gap rule's
`kept`         `Kept`: `records`: `[Record]`, one a day, ascending; `left_out`: `{code: n}`, always with all four of
               `scale_mismatch`, `after_death`, `day_0_post_dose`, `duplicate_draw`
`baseline`     `Record` or `None`; `baseline_too_old` -> `bool`
`visits`       `{week: Record}`; week 0 is the baseline; a week without a record is absent
`normality`    `("normal" | "abnormal" | "unknown", whether its limit was borrowed)` of a kept CK record
`efficacy`     `bool`; `outside_efficacy` -> `None`, `"not_treated"` or `"no_value_after_baseline"`
`response`     `"responder"`, `"non_responder"` or the reason that excludes; `near_ceiling` -> `bool`
`ln_value`     `float`, or `None` for a CK of 0
`changes`      `{(measure, scale, week): float or reason}` of an efficacy patient, else `{}`;
               reasons: `no_baseline`, `no_value_at_visit`, `zero_value`, the first that applies
`ck_change`    `(before, after, difference)`, or why not: as `outside_efficacy`, then as `changes`
`normal_spell` `Spell(origin, duration, event)`, or why not: `not_in_efficacy_set`, `no_baseline`,
               `baseline_normality_unknown`, `normal_at_baseline`, `no_value_after_baseline`, `never_normal`
`first_normal` `Spell(0, duration, event)`, or why not: as `outside_efficacy`, then as `normal_spell`, or
               `normality_unknown`
`reactions`    `Reactions`, or `None` for a patient outside the safety set
`tally`        `Tally`: the same over a cohort, patients in order
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from app.protocol.criteria import CkPercentOfBaseline, DaysWindow, PointsBetter, VisitWindow
from app.protocol.endpoints import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    CriterionInWindow,
    PercentAboveBaseline,
    PointsAboveBaseline,
    ResponseRule,
)
from app.protocol.model import Protocol
from app.protocol.parts import Scale
from app.timeline.cohort import COMPARATORS, NO_TIME, Cohort
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

NEVER = float("-inf")
EFFICACY_MEASURES = ("CK", "MMT", "ADL")
LEFT_OUT = ("scale_mismatch", "after_death", "day_0_post_dose", "duplicate_draw")


@dataclass(frozen=True)
class Draw:
    """A laboratory result or a score as stored; a score has no limit, comparator or laboratory."""

    measure: str
    date: int
    instant: int | None
    value: float
    issued: int | None
    upper_limit: float | None = None
    comparator: str | None = None
    lab: str | None = None
    scale_max: float | None = None


@dataclass(frozen=True)
class Infusion:
    product: str
    date: int
    instant: int | None
    course: int | None


@dataclass(frozen=True)
class Event:
    date: int | None
    instant: int | None
    term: str
    serious: bool | None
    related: str | None
    severity: str | None = None


@dataclass(frozen=True)
class Patient:
    id: str
    diagnosis: str | None
    ended_date: int | None
    ended_reason: str | None
    draws: list[Draw]
    infusions: list[Infusion]
    events: list[Event]
    donors: list[Draw] | None = None
    """Draws whose limit may be borrowed, where they are others than `draws`."""
    drugs: list[tuple[str, int]] = field(default_factory=list)
    """The name of each drug, one for all of its names, and the date on which it was begun."""
    steroids: int | None = None
    """The day of the first steroid rescue that the protocol declares, if there is one."""


@dataclass(frozen=True)
class Course:
    product: str
    first: int
    last: int
    infusions: int
    number: int


@dataclass(frozen=True)
class Treatment:
    treated: bool
    date: int | None = None
    instant: int | None = None
    courses: list[Course] = field(default_factory=list)
    second: int | None = None
    disagreeing: int = 0


@dataclass(frozen=True)
class Record:
    """A draw that may serve, by its day; `value` and `upper_limit` are the exact decimals."""

    day: int
    value: Fraction
    upper_limit: Fraction | None
    draw: Draw

    @property
    def comparator(self) -> str | None:
        return self.draw.comparator


@dataclass(frozen=True)
class Kept:
    records: list[Record]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Spell:
    origin: int
    duration: int
    event: bool


@dataclass(frozen=True)
class Reactions:
    """A safety patient's events; all but `onset_unknown` (part of `events`) are of events on treatment."""

    events: int
    related: int
    serious: int
    related_serious: int
    onset_unknown: int
    terms: list[str]
    related_terms: list[str]


@dataclass(frozen=True)
class Tally:
    """A cohort's answers. Lists of ids and of `(id, value)` are in the order of the patients.

    `left_out`: `{measure: {code: n}}`; `too_old`: `{measure: [id]}`; `responses`: for each declared response, in order,
    `{id: result}` of all patients; `near_ceiling`: for each declared response `[id]`; `changes`:
    `{(measure, scale, week): [(id, difference)]}`; `unchanged`: `{(measure, scale, week): {reason: n}}` of the efficacy
    set; `ck_change`: `[(id, before, after, difference)]`; the `*_reasons` count all patients; `zero_value`,
    `borrowed_upper_limit` and `unknown_normality` count kept CK records; `adverse` sums `Reactions`;
    `by_term`: `{term: (patients, events)}`.
    """

    all: list[str]
    safety: list[str]
    efficacy: list[str]
    second_course: list[tuple[str, int]]
    course_disagrees: list[str]
    left_out: dict[str, dict[str, int]]
    too_old: dict[str, list[str]]
    responses: list[dict[str, str]]
    near_ceiling: list[list[str]]
    changes: dict[tuple[str, str, int], list[tuple[str, float]]]
    unchanged: dict[tuple[str, str, int], dict[str, int]]
    ck_change: list[tuple[str, float, float, float]]
    ck_change_reasons: dict[str, int]
    spells: list[tuple[str, Spell]]
    spell_reasons: dict[str, int]
    first_normals: list[tuple[str, Spell]]
    first_normal_reasons: dict[str, int]
    zero_value: int
    borrowed_upper_limit: int
    unknown_normality: int
    adverse: dict[str, int]
    by_term: dict[str, tuple[int, int]]
    related_by_term: dict[str, tuple[int, int]]


def exact(number: float) -> Fraction:
    """The decimal that was written: the shortest one that reads as this float."""
    return Fraction(repr(float(number)))


def earliest(time: int | None) -> float:
    """A time to compare by, an absent one before all others."""
    return NEVER if time is None else time


# --- 0. columns to lists ----------------------------------------------------------------------------------------------


def patients_of(cohort: Cohort) -> list[Patient]:
    """The cohort as lists of plain Python values."""
    comparator_of = {number: sign for sign, number in COMPARATORS.items()}
    patients = [Patient(p.id, p.diagnosis, p.ended_day, p.ended_reason, [], [], []) for p in cohort.patients]
    labs = cohort.labs
    for i in range(len(labs)):
        patients[int(labs.patient[i])].draws.append(
            Draw(
                LAB_CODES[int(labs.code[i])],
                int(labs.day[i]),
                _time(labs.instant[i]),
                float(labs.value[i]),
                _time(labs.issued[i]),
                _number(labs.upper_limit[i]),
                comparator_of[int(labs.comparator[i])],
                labs.lab[i],
            )
        )
    scores = cohort.assessments
    for i in range(len(scores)):
        patients[int(scores.patient[i])].draws.append(
            Draw(
                ASSESSMENT_CODES[int(scores.code[i])],
                int(scores.day[i]),
                _time(scores.instant[i]),
                float(scores.score[i]),
                _time(scores.issued[i]),
                scale_max=_number(scores.scale_max[i]),
            )
        )
    given = cohort.infusions
    for i in range(len(given)):
        patients[int(given.patient[i])].infusions.append(
            Infusion(given.product[i], int(given.day[i]), _time(given.instant[i]), int(given.course[i]) or None)
        )
    drugs = cohort.medications
    for i in range(len(drugs)):
        begun = (one_name(drugs.drug[i]), int(drugs.start_day[i]))
        patients[int(drugs.patient[i])].drugs.append(begun)
    events = cohort.events
    for i in range(len(events)):
        patients[int(events.patient[i])].events.append(
            Event(
                _time(events.day[i]),
                _time(events.instant[i]),
                events.term[i],
                events.serious[i],
                events.related[i],
                events.severity[i],
            )
        )
    return patients


def one_name(drug: str) -> str:
    """The name of a drug in lower case, one for all of its names that occur in the tests."""
    name = drug.strip().casefold()
    return {"mtx": "methotrexate", "cyclosporine": "ciclosporin", "csa": "ciclosporin"}.get(name, name)


def _time(number: object) -> int | None:
    whole = int(number)  # type: ignore[call-overload]
    return None if whole == NO_TIME else whole


def _number(number: object) -> float | None:
    real = float(number)  # type: ignore[arg-type]
    return None if math.isnan(real) else real


# --- 1. treatment -----------------------------------------------------------------------------------------------------


def course(patient: Patient, protocol: Protocol) -> Treatment:
    """Day 0, the courses of all treatment products in order of their start, and the first that began after day 0."""
    given = [i for i in patient.infusions if i.product in protocol.treatment.products]
    if not given:
        return Treatment(treated=False)
    in_time = sorted(given, key=lambda i: (i.date, earliest(i.instant), i.product))
    groups: list[list[Infusion]] = []
    for product in sorted({i.product for i in in_time}):
        own: list[list[Infusion]] = []
        for infusion in in_time:
            if infusion.product != product:
                continue
            if own and infusion.date - own[-1][-1].date <= protocol.treatment.course_gap_days:
                own[-1].append(infusion)
            else:
                own.append([infusion])
        groups.extend(own)
    groups.sort(key=lambda group: (group[0].date, earliest(group[0].instant), group[0].product))
    courses: list[Course] = []
    disagreeing = 0
    for group in groups:
        product = group[0].product
        number = 1 + sum(1 for before in courses if before.product == product)
        courses.append(Course(product, group[0].date, group[-1].date, len(group), number))
        disagreeing += sum(1 for i in group if i.course is not None and i.course != number)
    first = groups[0][0]
    second = next((course.first - first.date for course in courses if course.first > first.date), None)
    return Treatment(True, first.date, first.instant, courses, second, disagreeing)


# --- 2. records -------------------------------------------------------------------------------------------------------


def scale_of(protocol: Protocol, measure: str) -> Scale | None:
    """The scale of an instrument; `None` for an analyte and for a sum score that the protocol does not declare."""
    if measure in LAB_CODES or (measure in ("MMT", "ADL") and measure not in protocol.scales):
        return None
    return protocol.scale(measure)


def kept(patient: Patient, protocol: Protocol, measure: str) -> Kept:
    """The records of a measure that may serve, at most one a day; a draw is counted once, for the first reason met."""
    left_out = dict.fromkeys(LEFT_OUT, 0)
    treatment = course(patient, protocol)
    if treatment.date is None:
        return Kept([], left_out)
    scale = scale_of(protocol, measure)
    by_day: dict[int, list[Draw]] = {}
    for draw in patient.draws:
        if draw.measure != measure:
            continue
        if scale is not None and not _fits(draw, scale):
            left_out["scale_mismatch"] += 1
        elif _after_death(draw, patient):
            left_out["after_death"] += 1
        elif _post_dose_on_day_0(draw, treatment):
            left_out["day_0_post_dose"] += 1
        else:
            by_day.setdefault(draw.date - treatment.date, []).append(draw)
    records = []
    for day in sorted(by_day):
        same_day = by_day[day]
        chosen = max(same_day, key=lambda draw: _precedence(draw, scale, before=day <= 0))
        left_out["duplicate_draw"] += len(same_day) - 1
        limit = None if chosen.upper_limit is None else exact(chosen.upper_limit)
        records.append(Record(day, exact(chosen.value), limit, chosen))
    return Kept(records, left_out)


def _fits(draw: Draw, scale: Scale) -> bool:
    if draw.scale_max is not None and exact(draw.scale_max) != exact(scale.maximum):
        return False
    return exact(scale.minimum) <= exact(draw.value) <= exact(scale.maximum)


def _after_death(draw: Draw, patient: Patient) -> bool:
    return patient.ended_reason == "died" and patient.ended_date is not None and draw.date > patient.ended_date


def _post_dose_on_day_0(draw: Draw, treatment: Treatment) -> bool:
    if draw.date != treatment.date or draw.instant is None or treatment.instant is None:
        return False
    return draw.instant > treatment.instant


def _precedence(draw: Draw, scale: Scale | None, *, before: bool) -> tuple[float, float, Fraction, float]:
    """Of several draws of one day the greatest is kept: later, issued later, less favourable, with the smaller limit.

    On or before day 0 a value is the less favourable to a response the better it is.
    """
    worse = exact(draw.value)
    if scale is not None and scale.better == "higher":
        worse = -worse
    if before:
        worse = -worse
    smaller_limit = NEVER if draw.upper_limit is None else -draw.upper_limit
    return (earliest(draw.instant), earliest(draw.issued), worse, smaller_limit)


# --- 3. baseline ------------------------------------------------------------------------------------------------------


def baseline(patient: Patient, protocol: Protocol, measure: str) -> Record | None:
    """The last record on or before day 0, unless it is older than the protocol accepts."""
    oldest = protocol.baseline.exclude_older_than_days
    before = [
        record
        for record in kept(patient, protocol, measure).records
        if record.day <= 0 and (oldest is None or -record.day <= oldest)
    ]
    return before[-1] if before else None


def baseline_too_old(patient: Patient, protocol: Protocol, measure: str) -> bool:
    record = baseline(patient, protocol, measure)
    return record is not None and -record.day > protocol.baseline.flag_older_than_days


# --- 4. visits --------------------------------------------------------------------------------------------------------


def visits(patient: Patient, protocol: Protocol, measure: str) -> dict[int, Record]:
    """The record of each week that has one."""
    records = kept(patient, protocol, measure).records
    first = baseline(patient, protocol, measure)
    served: dict[int, Record] = {} if first is None else {0: first}
    for week in protocol.visits.weeks:
        eligible = [
            record
            for record in records
            if (record.day > 0 if week > 0 else record.day < 0 and record != first)
            and _in_window_of(record.day, week, protocol)
        ]
        if eligible:
            served[week] = min(eligible, key=lambda record, week=week: (abs(record.day - 7 * week), -record.day))
    return served


def _in_window_of(day: int, week: int, protocol: Protocol) -> bool:
    if protocol.visits.rule == "nearest_within":
        return abs(day - 7 * week) <= protocol.visits.tolerance_days
    targets = sorted({0, *(7 * w for w in protocol.visits.weeks)})
    target = 7 * week
    nearest = min(abs(day - t) for t in targets)
    if target != max(t for t in targets if abs(day - t) == nearest):  # half-way: the later of the two
        return False
    if day < target and target == targets[0]:
        return 2 * (target - day) <= targets[1] - targets[0]
    if day > target and target == targets[-1]:
        return 2 * (day - target) <= targets[-1] - targets[-2]
    return True


# --- 5. normality -----------------------------------------------------------------------------------------------------


def limit_donors(patient: Patient) -> list[Draw]:
    """The CK draws whose limit another may borrow: all that carry one, even those that serve nothing themselves."""
    draws = patient.draws if patient.donors is None else patient.donors
    return [draw for draw in draws if draw.measure == "CK" and draw.upper_limit is not None]


def limit_of(patient: Patient, protocol: Protocol, record: Record) -> tuple[Fraction | None, bool]:
    """The upper limit that a CK record is judged by, and whether it was borrowed."""
    if record.upper_limit is not None:
        return record.upper_limit, False
    if protocol.upper_limit != "nearest_same_laboratory" or record.draw.lab is None:
        return None, False
    donors = [draw for draw in limit_donors(patient) if draw.lab == record.draw.lab]
    if not donors:
        return None, False
    date = record.draw.date
    donor = min(donors, key=lambda d: (abs(d.date - date), d.date, earliest(d.instant), d.upper_limit or 0.0))
    return exact(donor.upper_limit or 0.0), True


def normality(patient: Patient, protocol: Protocol, record: Record) -> tuple[str, bool]:
    limit, borrowed = limit_of(patient, protocol, record)
    if limit is None:
        return "unknown", borrowed
    x = record.value
    if record.comparator is None:
        return ("normal" if x <= limit else "abnormal"), borrowed
    if record.comparator in ("<", "<="):
        return ("normal" if x <= limit else "unknown"), borrowed
    if record.comparator == ">":
        return ("abnormal" if x >= limit else "unknown"), borrowed
    return ("abnormal" if x > limit else "unknown"), borrowed


# --- 6. efficacy set --------------------------------------------------------------------------------------------------


def efficacy(patient: Patient, protocol: Protocol) -> bool:
    """Treated, and any of CK, MMT, ADL and what else the protocol asks about has a record after day 0."""
    return course(patient, protocol).treated and any(
        record.day > 0 for measure in measures_of(protocol) for record in kept(patient, protocol, measure).records
    )


def outside_efficacy(patient: Patient, protocol: Protocol) -> str | None:
    """Why a patient is not in the efficacy set; `None` for one who is."""
    if not course(patient, protocol).treated:
        return "not_treated"
    return None if efficacy(patient, protocol) else "no_value_after_baseline"


# --- 7. response ------------------------------------------------------------------------------------------------------

Rule = ResponseRule
Unconfirmed = PointsAboveBaseline | PercentAboveBaseline | CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek
Judge = Callable[[Record], bool]


def response(patient: Patient, protocol: Protocol, rule: Rule) -> str:
    if isinstance(rule, CriterionInWindow) and rule.missing == "non_responder":
        if not course(patient, protocol).treated:
            return "not_treated"
        left_out = rule.model_copy(update={"missing": "left_out"})
        return "responder" if response(patient, protocol, left_out) == "responder" else "non_responder"
    outside = outside_efficacy(patient, protocol)
    if outside is not None:
        return outside
    start = baseline(patient, protocol, rule.measure)
    if start is None:
        return "no_baseline"
    scale = scale_of(protocol, rule.measure)
    if rule.measure == "CK" and (why := not_abnormal_at_baseline(patient, protocol)) is not None:
        return why
    if scale is not None and start.value == best_end(scale):
        return "at_scale_maximum"
    in_points = isinstance(rule, PointsAboveBaseline) or (
        isinstance(rule, CriterionInWindow) and isinstance(rule.criterion, PointsBetter)
    )
    if not in_points and start.value == 0:
        return "zero_baseline"
    ended = response_ended(patient, protocol)

    def meets(record: Record) -> bool:
        in_time = ended is None or record.day <= ended
        return in_time and _satisfies(patient, protocol, rule, start, record)

    if not isinstance(rule, CriterionInWindow):
        judged = _judged(patient, protocol, rule)
        last = _last_day(protocol, rule)
        if not judged and not (ended is not None and ended <= last):
            return "no_value_in_window"
        return "responder" if any(meets(record) for record in judged) else "non_responder"
    return _in_window(patient, protocol, rule, meets, ended)


def _in_window(patient: Patient, protocol: Protocol, rule: CriterionInWindow, meets: Judge, ended: int | None) -> str:
    """The verdict of the general rule on a patient with a usable baseline."""
    own, pairs = rule.window, judged_pairs(patient, protocol, rule.measure, rule.window)
    last = days_of_week(protocol, own.week)[1] if isinstance(own, VisitWindow) else own.days[1]
    if not pairs and not (ended is not None and ended <= last):
        return "no_value_in_window"
    if own.confirmed is None:
        return "responder" if any(meets(record) for record, _ in pairs) else "non_responder"
    if any(meets(record) and second is not None and meets(second) for record, second in pairs):
        return "responder"
    if any(meets(record) and second is None for record, second in pairs) and ended is None:
        return "no_confirming_value"
    return "non_responder"


def judged_pairs(
    patient: Patient, protocol: Protocol, measure: str, own: DaysWindow | VisitWindow
) -> list[tuple[Record, Record | None]]:
    """The records that a window judges, each with the one that may confirm it."""
    records, seen = kept(patient, protocol, measure).records, visits(patient, protocol, measure)
    if isinstance(own, VisitWindow):
        judged = [seen[own.week]] if own.week in seen else []
    else:
        judged = [record for record in records if own.days[0] <= record.day <= own.days[1]]
        judged = judged[-1:] if own.value == "last" else judged
    if own.confirmed == "next_visit":
        assert isinstance(own, VisitWindow)
        following = sorted(week for week in protocol.visits.weeks if week > own.week)[0]
        return [(record, seen.get(following)) for record in judged]
    return [(record, next((later for later in records if later.day > record.day), None)) for record in judged]


def rescue_day(patient: Patient, protocol: Protocol) -> int | None:
    """The first day after day 0 on which a second course or a listed drug that was not given before began, or of the
    steroid rescue.
    """
    treatment = course(patient, protocol)
    if not treatment.treated:
        return None
    listed = {one_name(drug) for drug in protocol.ck_normal_time.immunosuppressants}
    begun = [(drug, date - treatment.date) for drug, date in patient.drugs]
    before = {drug for drug, day in begun if day <= 0}
    days = [day for drug, day in begun if drug in listed and drug not in before]
    days += [] if treatment.second is None else [treatment.second]
    days += [] if patient.steroids is None else [patient.steroids]
    return min((day for day in days if day > 0), default=None)


def response_ended(patient: Patient, protocol: Protocol) -> int | None:
    """The day after which no value is a response, where the protocol says so."""
    if protocol.response_rescue == "treatment_policy":
        return None
    days = [rescue_day(patient, protocol)]
    if patient.ended_reason == "died" and patient.ended_date is not None:
        days.append(patient.ended_date - course(patient, protocol).date)
    return min((day for day in days if day is not None), default=None)


def near_ceiling(patient: Patient, protocol: Protocol, rule: Rule) -> bool:
    """The baseline is not the best score but no further from it than the improvement asked for."""
    start = baseline(patient, protocol, rule.measure)
    scale = scale_of(protocol, rule.measure)
    if start is None or scale is None:
        return False
    room = abs(best_end(scale) - start.value)
    if isinstance(rule, CriterionInWindow):
        if isinstance(rule.criterion, PointsBetter):
            return 0 < room <= exact(rule.criterion.points)
        return 0 < 100 * room <= exact(rule.criterion.percent) * start.value
    if isinstance(rule, PointsAboveBaseline):
        return 0 < room <= exact(rule.points)
    return 0 < 100 * room <= exact(rule.percent) * start.value


def best_end(scale: Scale) -> Fraction:
    return exact(scale.maximum if scale.better == "higher" else scale.minimum)


def _last_day(protocol: Protocol, rule: Unconfirmed) -> int:
    """The last day of the values that a rule judges."""
    if isinstance(rule, PercentAboveBaseline | CkDecreaseOrNormalAtWeek):
        return days_of_week(protocol, rule.week)[1]
    return rule.days[1]


def days_of_week(protocol: Protocol, week: int) -> tuple[int, int]:
    """First and last day of the window of a week, tried day by day."""
    days = [day for day in range(7 * week - 400, 7 * week + 401) if _in_window_of(day, week, protocol)]
    return days[0], days[-1]


def _judged(patient: Patient, protocol: Protocol, rule: Unconfirmed) -> list[Record]:
    """The records of which one must satisfy the rule."""
    if isinstance(rule, PercentAboveBaseline | CkDecreaseOrNormalAtWeek):
        seen = visits(patient, protocol, rule.measure)
        return [seen[rule.week]] if rule.week in seen else []
    records = kept(patient, protocol, rule.measure).records
    inside = [record for record in records if rule.days[0] <= record.day <= rule.days[1]]
    return inside if rule.value == "best" else inside[-1:]


def _satisfies(patient: Patient, protocol: Protocol, rule: Rule, start: Record, record: Record) -> bool:
    if isinstance(rule, CriterionInWindow):
        return _meets(patient, protocol, rule, start, record)
    if isinstance(rule, CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek):
        if normality(patient, protocol, record)[0] == "normal":
            return True
        if record.comparator in (">", ">=") or start.comparator in ("<", "<="):
            return False
        return 100 * record.value <= rule.percent_of_baseline * start.value
    scale = protocol.scale(rule.measure)
    improvement = record.value - start.value if scale.better == "higher" else start.value - record.value
    if isinstance(rule, PointsAboveBaseline):
        return improvement >= exact(rule.points)
    return 100 * improvement >= exact(rule.percent) * start.value


def _meets(patient: Patient, protocol: Protocol, rule: CriterionInWindow, start: Record, record: Record) -> bool:
    criterion = rule.criterion
    if isinstance(criterion, CkPercentOfBaseline):
        if criterion.or_normal and normality(patient, protocol, record)[0] == "normal":
            return True
        bounded = record.comparator in (">", ">=") or start.comparator in ("<", "<=")
        return not bounded and 100 * record.value <= criterion.percent_of_baseline * start.value
    better = protocol.scale(rule.measure).better
    improvement = record.value - start.value if better == "higher" else start.value - record.value
    if isinstance(criterion, PointsBetter):
        return improvement >= exact(criterion.points)
    return 100 * improvement >= exact(criterion.percent) * start.value


# --- 8. and 9. changes ------------------------------------------------------------------------------------------------


def stand_in(record: Record) -> Fraction:
    """The number that a value is calculated with: half the bound of `<x` and `<=x`, the bound of `>x` and `>=x`."""
    return record.value / 2 if record.comparator in ("<", "<=") else record.value


def ln_value(record: Record) -> float | None:
    number = stand_in(record)
    return None if number == 0 else math.log(float(number))


def changes(patient: Patient, protocol: Protocol) -> dict[tuple[str, str, int], float | str]:
    """The value of each week of the weekly comparison minus the baseline, on each scale of its measure."""
    found: dict[tuple[str, str, int], float | str] = {}
    if not efficacy(patient, protocol):
        return found
    for measure in protocol.weekly_change.measures:
        seen = visits(patient, protocol, measure)
        for week in protocol.weekly_change.weeks:
            for scale in ("ln", "raw") if measure == "CK" else ("raw",):
                if 0 not in seen:
                    found[measure, scale, week] = "no_baseline"
                elif week not in seen:
                    found[measure, scale, week] = "no_value_at_visit"
                elif scale == "raw":
                    found[measure, scale, week] = float(stand_in(seen[week]) - stand_in(seen[0]))
                else:
                    then, now = ln_value(seen[0]), ln_value(seen[week])
                    found[measure, scale, week] = "zero_value" if then is None or now is None else now - then
    return found


def ck_change(patient: Patient, protocol: Protocol) -> tuple[float, float, float] | str:
    """ln CK at week 0 minus the week before, the week after minus week 0, and the second minus the first."""
    outside = outside_efficacy(patient, protocol)
    if outside is not None:
        return outside
    seen = visits(patient, protocol, "CK")
    if 0 not in seen:
        return "no_baseline"
    weeks = (protocol.ck_change.before_week, 0, protocol.ck_change.after_week)
    if any(week not in seen for week in weeks):
        return "no_value_at_visit"
    then, start, now = (ln_value(seen[week]) for week in weeks)
    if then is None or start is None or now is None:
        return "zero_value"
    before, after = start - then, now - start
    return before, after, after - before


# --- 10. the time with normal CK --------------------------------------------------------------------------------------


def normal_spell(patient: Patient, protocol: Protocol) -> Spell | str:
    """From the first normal CK after day 0 to the first later abnormal one, or to the last known to be either."""
    if not efficacy(patient, protocol):
        return "not_in_efficacy_set"
    found = first_normal(patient, protocol)
    if isinstance(found, str):
        return found
    after = _after_day_0(patient, protocol)
    normal_days = [day for day, state in after if state == "normal"]
    if not normal_days:
        return "never_normal"
    if protocol.ck_normal_time.sustained:
        known = [(day, state) for day, state in after if state != "unknown"]
        normal_days = [day for (day, state), (_, then) in pairwise(known) if state == then == "normal"]
        if not normal_days:
            return "never_sustained"
    origin = normal_days[0]
    abnormal_days = [day for day, state in after if state == "abnormal" and day > origin]
    if abnormal_days:
        return Spell(origin, abnormal_days[0] - origin, event=True)
    known_days = [day for day, state in after if state != "unknown" and day >= origin]
    return Spell(origin, known_days[-1] - origin, event=False)


def not_abnormal_at_baseline(patient: Patient, protocol: Protocol) -> str | None:
    """Why nothing can be said of CK becoming normal: the one rule for response and for the times."""
    start = baseline(patient, protocol, "CK")
    if start is None:
        return "no_baseline"
    state = normality(patient, protocol, start)[0]
    return {"unknown": "baseline_normality_unknown", "normal": "normal_at_baseline", "abnormal": None}[state]


def first_normal(patient: Patient, protocol: Protocol) -> Spell | str:
    """From day 0 to the first normal CK, or to the last CK that is known to be normal or not."""
    outside = outside_efficacy(patient, protocol)
    if outside is not None:
        return outside
    if (why := not_abnormal_at_baseline(patient, protocol)) is not None:
        return why
    after = _after_day_0(patient, protocol)
    if not after:
        return "no_value_after_baseline"
    known = [(day, state) for day, state in after if state != "unknown"]
    if not known:
        return "normality_unknown"
    normal_days = [day for day, state in known if state == "normal"]
    if normal_days:
        return Spell(0, normal_days[0], event=True)
    return Spell(0, known[-1][0], event=False)


def _after_day_0(patient: Patient, protocol: Protocol) -> list[tuple[int, str]]:
    records = kept(patient, protocol, "CK").records
    return [(record.day, normality(patient, protocol, record)[0]) for record in records if record.day > 0]


# --- 11. adverse reactions --------------------------------------------------------------------------------------------


def reactions(patient: Patient, protocol: Protocol) -> Reactions | None:
    """The events on treatment of a patient of the safety set."""
    treatment = course(patient, protocol)
    if treatment.date is None:
        return None
    during = [event for event in patient.events if _on_treatment(event, treatment)]
    related = [event for event in during if (event.related or "unknown") in protocol.adverse_reactions.related]
    return Reactions(
        events=len(during),
        related=len(related),
        serious=sum(1 for event in during if event.serious is True),
        related_serious=sum(1 for event in related if event.serious is True),
        onset_unknown=sum(1 for event in during if event.date is None),
        terms=[event.term for event in during],
        related_terms=[event.term for event in related],
    )


def _on_treatment(event: Event, treatment: Treatment) -> bool:
    if event.date is None or treatment.date is None:
        return True
    if event.date != treatment.date:
        return event.date > treatment.date
    earlier = event.instant is not None and treatment.instant is not None and event.instant < treatment.instant
    return not earlier


# --- the cohort -------------------------------------------------------------------------------------------------------


def measures_of(protocol: Protocol) -> list[str]:
    """Every measure that the protocol reads, the three of the efficacy set first."""
    named = [*EFFICACY_MEASURES, *protocol.weekly_change.measures, *(r.rule.measure for r in protocol.responses)]
    if protocol.specification_grid is not None:
        named += [each.measure for each in protocol.specification_grid.measures]
    return list(dict.fromkeys(named))


def tally(cohort: Cohort, protocol: Protocol) -> Tally:
    """All answers over a cohort."""
    patients = patients_of(cohort)
    treatments = [(p.id, course(p, protocol)) for p in patients]
    changed: dict[tuple[str, str, int], list[tuple[str, float]]] = {}
    unchanged: dict[tuple[str, str, int], dict[str, int]] = {}
    for measure in protocol.weekly_change.measures:
        for scale in ("ln", "raw") if measure == "CK" else ("raw",):
            for week in protocol.weekly_change.weeks:
                changed[measure, scale, week], unchanged[measure, scale, week] = [], {}
    for p in patients:
        for key, change in changes(p, protocol).items():
            if isinstance(change, str):
                unchanged[key][change] = unchanged[key].get(change, 0) + 1
            else:
                changed[key].append((p.id, change))
    triples = [(p.id, ck_change(p, protocol)) for p in patients]
    spells = [(p.id, normal_spell(p, protocol)) for p in patients]
    firsts = [(p.id, first_normal(p, protocol)) for p in patients]
    ck = [(p, record) for p in patients for record in kept(p, protocol, "CK").records]
    states = [normality(p, protocol, record) for p, record in ck]
    safety = [r for p in patients if (r := reactions(p, protocol)) is not None]
    return Tally(
        all=[p.id for p in patients],
        safety=[who for who, treatment in treatments if treatment.treated],
        efficacy=[p.id for p in patients if efficacy(p, protocol)],
        second_course=[(who, treatment.second) for who, treatment in treatments if treatment.second is not None],
        course_disagrees=[who for who, treatment in treatments if treatment.disagreeing],
        left_out={m: _summed([kept(p, protocol, m).left_out for p in patients]) for m in measures_of(protocol)},
        too_old={m: [p.id for p in patients if baseline_too_old(p, protocol, m)] for m in measures_of(protocol)},
        responses=[{p.id: response(p, protocol, r.rule) for p in patients} for r in protocol.responses],
        near_ceiling=[[p.id for p in patients if near_ceiling(p, protocol, r.rule)] for r in protocol.responses],
        changes=changed,
        unchanged=unchanged,
        ck_change=[(who, *triple) for who, triple in triples if not isinstance(triple, str)],
        ck_change_reasons=dict(Counter(reason for _, reason in triples if isinstance(reason, str))),
        spells=[(who, spell) for who, spell in spells if isinstance(spell, Spell)],
        spell_reasons=dict(Counter(reason for _, reason in spells if isinstance(reason, str))),
        first_normals=[(who, spell) for who, spell in firsts if isinstance(spell, Spell)],
        first_normal_reasons=dict(Counter(reason for _, reason in firsts if isinstance(reason, str))),
        zero_value=sum(1 for _, record in ck if record.value == 0),
        borrowed_upper_limit=sum(1 for _, borrowed in states if borrowed),
        unknown_normality=sum(1 for state, _ in states if state == "unknown"),
        adverse={
            "safety": len(safety),
            "patients_with_reaction": sum(1 for r in safety if r.related),
            "patients_with_event": sum(1 for r in safety if r.events),
            "events": sum(r.events for r in safety),
            "related_events": sum(r.related for r in safety),
            "patients_with_serious_event": sum(1 for r in safety if r.serious),
            "serious_events": sum(r.serious for r in safety),
            "related_serious_events": sum(r.related_serious for r in safety),
            "onset_unknown": sum(r.onset_unknown for r in safety),
        },
        by_term=_by_term([r.terms for r in safety]),
        related_by_term=_by_term([r.related_terms for r in safety]),
    )


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    return {code: sum(count[code] for count in counts) for code in LEFT_OUT}


def _by_term(terms: list[list[str]]) -> dict[str, tuple[int, int]]:
    """(patients, events) of each term."""
    return {
        term: (sum(1 for own in terms if term in own), sum(own.count(term) for own in terms))
        for term in sorted({term for own in terms for term in own})
    }
