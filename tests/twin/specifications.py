"""A second implementation of the definitions of a grid: each by itself, one patient at a time, in exact fractions.

Nothing here is shared with `app.derive`; what a record, a visit and a normal CK is comes from `derivations`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from app.protocol.criteria import (
    BestEnd,
    CkNormal,
    CkPercentOfBaseline,
    Criterion,
    PercentBetter,
    PointsBetter,
    VisitWindow,
)
from app.protocol.model import Protocol
from app.protocol.parts import Scale
from app.protocol.specification import MeasureGrid, Specification
from app.timeline.cohort import Cohort
from tests.twin import derivations as twin
from tests.twin.derivations import Patient, Record, best_end, exact

BELOW, ABOVE = ("<", "<="), (">", ">=")


@dataclass(frozen=True)
class Known:
    """What is known of one patient about one measure."""

    treated: bool
    efficacy: bool
    records: list[Record]
    visits: dict[int, Record]
    normality: dict[int, str]
    """By day."""
    limits: dict[int, Fraction | None]
    scale: Scale | None
    patient: Patient
    protocol: Protocol
    measure: str
    ended: int | None
    """The day after which no value is a response."""


@dataclass(frozen=True)
class Before:
    """A baseline: the values whose mean it is (one, mostly), whether it is the geometric one."""

    values: list[Fraction]
    geometric: bool
    abnormal: bool
    """Of CK: known to be above its upper limit; true of a score."""
    unproven: bool

    def at_most(self, bound: Fraction) -> bool:
        """Whether the baseline is no greater than a number."""
        return self._against(bound) <= 0

    def at_least(self, bound: Fraction) -> bool:
        """Whether it is no smaller."""
        return self._against(bound) >= 0

    def _against(self, bound: Fraction) -> Fraction:
        """Of the sign of baseline - bound; no CK and no bound on one is negative."""
        if not self.geometric:
            return sum(self.values, Fraction(0)) / len(self.values) - bound
        return math.prod(self.values) - bound ** len(self.values)

    @property
    def zero(self) -> bool:
        return 0 in self.values if self.geometric else sum(self.values) == 0


def known(patient: Patient, protocol: Protocol, measure: str) -> Known:
    records = twin.kept(patient, protocol, measure).records
    is_ck = measure == "CK"
    return Known(
        twin.course(patient, protocol).treated,
        twin.efficacy(patient, protocol),
        records,
        twin.visits(patient, protocol, measure),
        {r.day: twin.normality(patient, protocol, r)[0] for r in records} if is_ck else {},
        {r.day: twin.limit_of(patient, protocol, r)[0] for r in records} if is_ck else {},
        twin.scale_of(protocol, measure),
        patient,
        protocol,
        measure,
        twin.response_ended(patient, protocol),
    )


def before(of: Known, rule: str, look_back: int | None) -> Before | None:
    """The baseline by one rule."""
    earlier = [record for record in of.records if record.day <= 0]
    if rule == "last_on_or_before_day_0":
        return _single(of, earlier[-1]) if earlier else None
    if look_back is not None:
        earlier = [record for record in earlier if record.day >= -look_back]
    if not earlier:
        return None
    if rule == "first_before_dose":
        return _single(of, earlier[0])
    if rule == "worst_before_dose":
        proven = [record for record in earlier if record.comparator not in BELOW] or earlier
        upwards = of.scale is None or of.scale.better == "lower"
        return _single(of, max(proven, key=lambda r: (r.value if upwards else -r.value, r.day)))
    geometric = rule == "geometric_mean_before_dose"
    mean = Before([r.value for r in earlier], geometric, True, any(r.comparator in BELOW for r in earlier))
    if of.scale is not None:
        return mean
    limit, more = of.limits[earlier[-1].day], any(r.comparator == ">" for r in earlier)
    above = limit is not None and (not mean.at_most(limit) or (more and mean.at_least(limit)))
    return Before(mean.values, geometric, above and not mean.unproven, mean.unproven)


def _single(of: Known, record: Record) -> Before:
    abnormal = of.scale is not None or of.normality[record.day] == "abnormal"
    return Before([record.value], False, abnormal, record.comparator in BELOW)


def verdict(of: Known, specification: Specification, look_back: int | None) -> bool | None:
    """Whether a patient satisfies a criterion; None where that cannot be judged."""
    start, own = before(of, specification.baseline, look_back), specification.window
    pairs = twin.judged_pairs(of.patient, of.protocol, of.measure, own)
    judged = [record for record, _ in pairs]
    criterion = specification.criterion
    last = twin.days_of_week(of.protocol, own.week)[1] if isinstance(own, VisitWindow) else own.days[1]
    failed = of.ended is not None and of.ended <= last
    if start is None or not (judged or failed) or not start.abnormal:
        return None
    if of.scale is not None and all(value == best_end(of.scale) for value in start.values):
        return None
    if isinstance(criterion, PercentBetter | CkPercentOfBaseline) and start.zero:
        return None
    if isinstance(criterion, CkNormal):
        states = [of.normality[record.day] for record in judged]
        if all(state == "unknown" for state in states) and not failed:
            return None

    def meets(record: Record) -> bool:
        return (of.ended is None or record.day <= of.ended) and _satisfies(of, criterion, start, record)

    if own.confirmed is None:
        return any(meets(record) for record in judged)
    if any(second is not None and meets(record) and meets(second) for record, second in pairs):
        return True
    pending = any(second is None and meets(record) for record, second in pairs)
    return None if pending and of.ended is None else False


def _satisfies(of: Known, criterion: Criterion, start: Before, record: Record) -> bool:
    x = record.value
    if isinstance(criterion, CkNormal):
        if criterion.sustained:
            known = [each.day for each in of.records if of.normality[each.day] != "unknown"]
            following = [of.normality[day] for day in known if day > record.day]
            return of.normality[record.day] == "normal" and following[:1] == ["normal"]
        return of.normality[record.day] == "normal"
    if isinstance(criterion, CkPercentOfBaseline):
        if criterion.or_normal and of.normality[record.day] == "normal":
            return True
        if record.comparator in ABOVE or start.unproven:
            return False
        return start.at_least(100 * x / criterion.percent_of_baseline)
    assert of.scale is not None
    higher = of.scale.better == "higher"
    if isinstance(criterion, BestEnd):
        return abs(best_end(of.scale) - x) <= exact(criterion.within_points)
    if isinstance(criterion, PointsBetter):
        points = exact(criterion.points)
        return start.at_most(x - points) if higher else start.at_least(x + points)
    mean = sum(start.values) / len(start.values)
    return 100 * (x - mean if higher else mean - x) >= exact(criterion.percent) * mean


def counted(
    patients: dict[str, Known], own: MeasureGrid, specification: Specification, look_back: int | None
) -> dict[str, bool]:
    """The patients whom a definition counts, and whether each is a responder."""
    found = {}
    for who, of in patients.items():
        if specification.analysis_set == "complete_case":
            inside = of.efficacy and _always_judged(of, own, look_back)
        else:
            inside = of.treated if specification.analysis_set == "safety" else of.efficacy
        judged = verdict(of, specification, look_back) if inside else None
        if judged is not None or (inside and specification.missing == "non_responder"):
            found[who] = bool(judged)
    return found


def _always_judged(of: Known, own: MeasureGrid, look_back: int | None) -> bool:
    every = (*own.specifications("response"), *own.specifications("remission"))
    return all(verdict(of, each, look_back) is not None for each in every)


def patients_known(cohort: Cohort, protocol: Protocol, measure: str) -> dict[str, Known]:
    """The patients of a cohort, by identifier."""
    return {patient.id: known(patient, protocol, measure) for patient in twin.patients_of(cohort)}
