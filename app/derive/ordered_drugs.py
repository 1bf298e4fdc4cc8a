"""Which orders of drugs count as medications, and on which days nobody knows what was ordered.

An order does not say that the drug was taken. It counts only for a person without any other record of the drug.
If two orders of one drug are valid on the same day, the later one may replace the earlier one or add to it: the dose of
that day is unknown. Only the last day of an order is no such day if another order begins on it, as with other periods.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from app.timeline.cohort import NO_TIME, Bools, Cohort, Ints, Medications
from app.timeline.drugs import drug_key

_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class CountedDrugs:
    """The medications that count, in the order of the cohort; `rows` are their rows there.

    `doubtful` are the periods in which several orders of a drug are valid, without a dose.
    """

    taken: Medications
    rows: Ints
    doubtful: Medications


def counted_drugs(cohort: Cohort) -> CountedDrugs:
    """The medications of a cohort that count."""
    table, everything = cohort.medications, np.arange(len(cohort.medications))
    if not table.ordered.any():
        return CountedDrugs(table, everything, table.where(everything[:0]))
    spelled = {name: drug_key(name) for name in set(table.drug.tolist())}
    places = {key: place for place, key in enumerate(sorted(set(spelled.values())))}
    drug = np.array([places[spelled[name]] for name in table.drug.tolist()], dtype=np.int64)
    of_person = table.patient * len(places) + drug
    counts = ~table.ordered | ~np.isin(of_person, of_person[~table.ordered])
    rows = np.flatnonzero(counts)
    return CountedDrugs(table.where(rows), rows, _doubtful(table, of_person, counts & table.ordered))


class OrderCounts(NamedTuple):
    """How many orders count as if the drug was taken, and how many do not count."""

    counted: int
    left_out: int


def order_counts(cohort: Cohort, chosen: Bools) -> OrderCounts:
    """How many of the chosen rows of the medications are orders that count, and orders that do not."""
    orders = cohort.medications.ordered & chosen
    counted = int(orders[counted_drugs(cohort).rows].sum())
    return OrderCounts(counted, int(orders.sum()) - counted)


def _doubtful(table: Medications, of_person: Ints, orders: Bools) -> Medications:
    """For each order that begins while an earlier one of its drug is valid: the days that both have."""
    rows = np.flatnonzero(orders)
    rows = rows[np.lexsort((table.start_day[rows], of_person[rows]))]
    found, last = [], []
    drug, begin, until = -1, NO_TIME, NO_TIME
    for row in rows.tolist():
        start, written = int(table.start_day[row]), int(table.end_day[row])
        end = _FOREVER if written == NO_TIME else written
        if int(of_person[row]) != drug:
            drug, begin, until = int(of_person[row]), start, end
            continue
        if start < until or start == begin:
            found.append(row)
            last.append(min(end, max(until, start)))
        begin, until = start, max(until, end)
    chosen = np.array(found, dtype=np.int64)
    order = np.argsort(chosen)
    both = np.array(last, dtype=np.int64)[order]
    return replace(
        table.where(chosen[order]),
        end_day=np.where(both == _FOREVER, NO_TIME, both),
        dose=np.full(len(found), np.nan),
    )
