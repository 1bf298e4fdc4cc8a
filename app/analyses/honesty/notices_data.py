"""Caveats about the data: what happened beside the treatment, what is missing, what was measured how."""

from collections.abc import Iterator

import numpy as np

from app.analyses.frame import Context
from app.analyses.honesty.headlines import headlines, last_week
from app.analyses.honesty.notices import Notice, counted
from app.derive.ck.ck_normal import NORMAL
from app.derive.intercurrent import Event
from app.derive.records import Records
from app.derive.segments import INCLUDED, any_where, count_where, last_where, pick_int
from app.derive.visits import window
from app.estimate.summary import summarise
from app.timeline.cohort import Bools, Ints

EVENTS: tuple[Event, ...] = ("steroid_taper", "steroid_increase", "new_immunosuppressant", "second_course", "death")


def data_notices(context: Context) -> Iterator[Notice]:
    """The caveats about the data, in the order of their sentences."""
    yield from _intercurrent(context)
    yield from _short_follow_up(context)
    yield from _missing(context)
    yield from _laboratory(context)
    yield _between_visits(context)
    yield _never_normal(context)
    yield counted("spontaneous_reports", context.study.safety, context.study.safety)


def last_endpoint_day(context: Context) -> int:
    """The last day that any endpoint with a window looks at."""
    windowed = [main.until for main in headlines(context) if main.kind != "median"]
    return max((int(until.max()) for until in windowed if len(until)), default=0)


def _intercurrent(context: Context) -> Iterator[Notice]:
    study, until = context.study, last_endpoint_day(context)
    events = study.intercurrent
    for event in EVENTS:
        among = study.safety & events.steroid_known if event.startswith("steroid") else study.safety
        yield counted(
            event,
            events.within(until, event),
            among,
            unknown=int((study.safety & ~among).sum()),
            parameters={"days": [0, until]},
        )


def _short_follow_up(context: Context) -> Iterator[Notice]:
    study, week = context.study, last_week(context.study)
    if week is None:
        return
    first = window(week, context.protocol.visits)[0]
    days = study.follow_up_days - 1
    median = summarise(days[study.safety]).median
    yield counted(
        "short_follow_up",
        days < first,
        study.safety,
        evidence={"median_days": median},
        parameters={"week": week, "first_day": first},
    )


def _missing(context: Context) -> Iterator[Notice]:
    """Values that the weekly comparison would need of the efficacy set: the baseline and every week compared."""
    study, weeks = context.study, (0, *context.protocol.weekly_change.weeks)
    for measure in context.protocol.weekly_change.measures:
        absent = np.stack([study.weeks(measure)[week] < 0 for week in weeks])
        planned = np.broadcast_to(study.efficacy, absent.shape)
        yield counted("missing_data", absent, planned, measure=measure, parameters={"weeks": list(weeks)})


def _laboratory(context: Context) -> Iterator[Notice]:
    records = context.study.records("CK")
    has = any_where(records.patient, records.size, np.ones(len(records.day), dtype=np.bool_))
    named = np.array([lab is not None for lab in records.lab], dtype=np.bool_)
    labs = np.zeros(len(records.day), dtype=np.int64)
    labs[named] = np.unique(records.lab[named].astype(str), return_inverse=True)[1]
    several, known = _several(records, labs, named)
    number = float(len(set(records.lab[named])))
    unknown = int((has & ~known).sum())
    yield counted("several_laboratories", several, known, unknown=unknown, evidence={"laboratories": number})
    limited = ~np.isnan(records.upper_limit)
    limits = np.zeros(len(records.day), dtype=np.int64)
    limits[limited] = np.unique(records.upper_limit[limited], return_inverse=True)[1]
    several, known = _several(records, limits, limited)
    yield counted("upper_limit_changes", several, known, unknown=int((has & ~known).sum()))
    bounds = records.comparator != 0
    yield counted("comparators", bounds, np.ones(len(bounds), dtype=np.bool_))


def _several(records: Records, kind: Ints, among: Bools) -> tuple[Bools, Bools]:
    """Which patients have more than one kind among some of their records, and which have any."""
    pairs = np.unique(np.stack([records.patient[among], kind[among]]), axis=1)[0]
    kinds = count_where(pairs, records.size, np.ones(len(pairs), dtype=np.bool_))
    return kinds > 1, kinds > 0


def _between_visits(context: Context) -> Notice:
    """The gap in which CK became abnormal again: from the last normal draw of the spell to the abnormal one."""
    study, records, spells = context.study, context.study.records("CK"), context.study.spells
    inside = np.array([reason == INCLUDED for reason in spells.reason], dtype=np.bool_)
    ended = inside & spells.relapsed
    end = spells.start + spells.duration
    in_spell = (study.ck_known == NORMAL) & (records.day > 0) & (records.day < end[records.patient])
    last_normal = pick_int(records.day, last_where(records.patient, records.size, in_spell), 0)
    gap = np.where(ended, end - last_normal, 0)
    return counted(
        "seen_at_visits_only",
        gap > 1,
        inside,
        evidence={"median_gap_days": summarise(gap[ended]).median, "ended": float(ended.sum())},
    )


def _never_normal(context: Context) -> Notice:
    reasons = context.study.spells.reason
    never = np.array([reason == "never_normal" for reason in reasons], dtype=np.bool_)
    inside = np.array([reason == INCLUDED for reason in reasons], dtype=np.bool_)
    return counted("conditioned_on_normalising", never, never | inside)
