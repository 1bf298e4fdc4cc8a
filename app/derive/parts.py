"""A study that is derived in parts, each with some of the patients, on one machine or on many.

`part_of` gives what the report reads of the results and scores of some patients: one entry for each patient, or counts.
`joined` makes one study of all parts. It does not derive from results and scores again, and has none of them: what asks
for more than the parts hold fails, and never gets a figure of a part. What needs no results (day 0, further treatment,
adverse events) it derives from the other facts, as any study does.

The derivation of a patient uses only the rows of that patient. So the parts may divide the patients in any way, and
may come in any order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from app.derive.ck_normality import RemissionIntervals
from app.derive.reasons import FlagCode
from app.derive.run_in import RunIn
from app.derive.study import Derivations, DerivedStudy
from app.protocol.model import Protocol
from app.timeline.cohort import Cohort
from app.timeline.patient_order import PatientOrder
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

READ = (
    "values_sent", "efficacy", "follow_up_days", "run_in", "ck_undetermined", "ck_draws", "days_normal", "sustained",
    "first_normal", "remission_episodes", "remission_intervals",
)  # fmt: skip
"""What the report reads under the protocol of the study, beside responses, flags and values at visits."""
READ_TO_COMPARE = ("remission_episodes", "remission_intervals")
"""What it reads under a protocol that it compares with."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyPart:
    """Some patients of a study: their facts, without results and scores unless all facts were asked for, and what was
    derived under each of some protocols.
    """

    cohort: Cohort
    derived: tuple[Derivations, ...]


class Withheld:
    """Stands for the results and scores of a joined study. Whatever reads them fails."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it never returns
        raise LookupError(f"a study that is joined from parts has no results and scores: {name}")

    def __len__(self) -> int:
        raise LookupError("a study that is joined from parts has no results and scores")


def measures_read(sent: Iterable[str], protocol: Protocol) -> list[str]:
    """The measures whose values at visits the report reads, if values of these codes were sent."""
    known = (code for code in sent if code in LAB_CODES or code not in {"MMT", "ADL"} or code in protocol.scales)
    return list(dict.fromkeys((*known, "CK", *protocol.measures)))


@dataclass(frozen=True, slots=True)
class PartsRead:
    """What the report reads of a study: under the first protocol, and to compare it with the others. `measures` are
    those of `measures_read` of the whole study; it is the same for all parts.
    """

    protocols: Sequence[Protocol]
    measures: Sequence[str]
    all_facts: bool = False


def part_of(cohort: Cohort, wanted: PartsRead) -> StudyPart:
    """What the report reads of these patients."""
    study = DerivedStudy(cohort, wanted.protocols[0])
    derived = (
        _derivations(study, READ, wanted.measures),
        *(_derivations(study.under(other), READ_TO_COMPARE, ()) for other in wanted.protocols[1:]),
    )
    return StudyPart(study.cohort if wanted.all_facts else _without_values(study.cohort), derived)


def _derivations(study: DerivedStudy, names: Sequence[str], measures: Sequence[str]) -> Derivations:
    rules = [declared.rule for declared in study.protocol.responses]
    return Derivations(
        properties={name: getattr(study, name) for name in names},
        responses={rule: study.response(rule) for rule in rules},
        flags={measure: study.flags(measure) for measure in measures},
        visits={
            (measure, week): study.at_visit(measure, week) for measure in measures for week in study.weeks(measure)
        },
    )


def _without_values(cohort: Cohort) -> Cohort:
    none = np.zeros(0, dtype=np.int64)
    return replace(cohort, labs=cohort.labs.where(none), assessments=cohort.assessments.where(none))


def joined(parts: Sequence[StudyPart], wanted: PartsRead) -> DerivedStudy:
    """The study of the patients of all parts, at least one, in the order of their identifiers.

    Raises `ValueError` if a patient is in it twice.
    """
    order = PatientOrder([part.cohort for part in parts])
    cohort = order.cohort()
    if not wanted.all_facts:
        withheld: Any = Withheld()
        cohort = replace(cohort, labs=withheld, assessments=withheld)
    study = DerivedStudy(cohort, wanted.protocols[0])
    of_protocols = (_all_derivations(order, each) for each in zip(*(part.derived for part in parts), strict=True))
    for protocol, derived in zip(wanted.protocols, of_protocols, strict=True):
        of_protocol = study if protocol is wanted.protocols[0] else study.under(protocol)
        of_protocol.know(replace(derived, properties={**derived.properties, "cohort": cohort}))
    return study


def _all_derivations(order: PatientOrder, parts: Sequence[Derivations]) -> Derivations:
    every = {
        part.name: {
            key: _joined(order, [getattr(each, part.name)[key] for each in parts])
            for key in getattr(parts[0], part.name)
        }
        for part in fields(Derivations)
    }
    return Derivations(**every)


def _joined(order: PatientOrder, values: Sequence[Any]) -> Any:  # noqa: ANN401 - as the values
    """One derivation of all patients: it has an entry for each patient, or counts."""
    first = values[0]
    if isinstance(first, np.ndarray):
        return order.column(values)
    if isinstance(first, tuple):
        return order.words(values)
    if isinstance(first, Mapping):
        return counted_together(values)
    if isinstance(first, int):
        return sum(values)
    if isinstance(first, frozenset):
        return frozenset().union(*values)
    rows = _ROWS.get(type(first), ())
    columns = order.rows(values, rows) if "patient" in rows else {}
    for part in fields(first):
        if part.name not in columns:
            of_parts = [getattr(value, part.name) for value in values]
            columns[part.name] = np.concatenate(of_parts) if part.name in rows else _joined(order, of_parts)
    return type(first)(**columns)


_ROWS: dict[type[Any], tuple[str, ...]] = {
    RunIn: ("patient", "value", "is_baseline", "row", "bounded"),
    RemissionIntervals: ("gaps",),
}
"""The columns of derivations that do not have one entry for each patient. The numbers in `row` have no meaning without
results, and `gaps` are in no order.
"""


def counted_together(counts: Sequence[Mapping[Any, int]]) -> dict[Any, int]:
    """The sums, in the order of the codes."""
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    places = {code: place for place, code in enumerate((*LAB_CODES, *ASSESSMENT_CODES, *FlagCode))}
    return {code: total[code] for code in sorted(total, key=places.__getitem__)}
