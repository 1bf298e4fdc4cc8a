"""What was derived of a cohort, for the cohort of another revision: only patients who changed are derived again.

The derivation of a patient uses only the rows of that patient. So a derivation with one entry for each patient keeps
the entries of all whose facts are the same: their digests say so. From counts, those of the patients who changed are
taken away, as they were before, and added as they are now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from app.derive.ck_normality import RemissionIntervals
from app.derive.known_estimates import keep_within
from app.derive.parts import READ, counted_together
from app.derive.run_in import RunIn
from app.derive.study import Derivations, DerivedStudy
from app.derive.visit_values import VisitValues
from app.protocol.model import Protocol
from app.timeline.cohort import NO_TIME, Cohort, Ints, Piece

FEW = 8
"""If more than one in so many patients changed, all are derived again. A patient who stays counts twice, as before and
as now.
"""
ALWAYS_FEW = 64
"""So many may have changed in any case."""
PROTOCOLS = 4
"""Derivations under so many protocols are kept with a cohort: those that were asked for last."""
BYTES_DERIVED = 2_500
"""For each patient at most so many bytes of derivations are kept with a cohort. All questions about the demonstration
study need 2,400; a protocol with sixty weeks and ten measures would take 24,000.
"""
BYTES_ESTIMATED = 2_000
SMALL_STUDY, LARGE_STUDY = 400, 16_000
"""For each patient at most so many bytes of estimates and drawings are kept with a cohort. One of 16 patients has as
many of them as one of 5,000, but shorter curves; those of a larger one are hardly longer.
"""
_WITH_COUNTS = frozenset({"values_sent", "run_in", "ck_undetermined", "ck_draws", "remission_intervals"})


def keep(study: DerivedStudy) -> None:
    """Keep what a study has derived with its cohort, also under other protocols, for later studies of this cohort. If
    there is too much, the protocol that was asked about the longest time ago goes first.
    """
    for each in (*study.others, study):
        kept, digest = each.given.derived, each.protocol.digest
        room = BYTES_DERIVED * len(each.given)
        known = _within(room, each.known(READ))
        kept.pop(digest, None)
        others = {other: _bytes_of(derived) for other, (_, derived) in tuple(kept.items())}
        while others and (len(others) >= PROTOCOLS or _bytes_of(known) + sum(others.values()) > room):
            first = next(iter(others))
            del others[first]
            kept.pop(first, None)
        kept[digest] = each.protocol, known
    keep_within(study.given.estimated, room_for_estimates(len(study.given)))


def room_for_estimates(patients: int) -> int:
    """How many bytes of estimates are kept at most with a cohort of so many patients."""
    return BYTES_ESTIMATED * (SMALL_STUDY + min(patients, LARGE_STUDY))


def _within(most: int, known: Derivations) -> Derivations:
    """Of these derivations each for which there is room in so many bytes. The others are derived again."""
    parts: dict[str, dict[Any, Any]] = {"properties": {}, "responses": {}, "visits": {}}
    for name, kept in parts.items():
        for key, value in getattr(known, name).items():
            if (size := _bytes_of(value)) <= most:
                most -= size
                kept[key] = value
    return replace(known, **parts)


def _bytes_of(value: Any) -> int:  # noqa: ANN401 - derivations of many types
    """The bytes of a derivation that grow with the number of patients."""
    match value:
        case np.ndarray():
            return value.nbytes
        case tuple():
            return 8 * len(value)
        case Mapping():
            return sum(map(_bytes_of, value.values()))
        case int() | frozenset():
            return 0
    return sum(_bytes_of(getattr(value, part.name)) for part in fields(value))


def keep_for_later(before: Cohort, after: Cohort) -> None:
    """Keep with the cohort of another revision what is kept with this one."""
    if before.derived and before.zoned == after.zoned:
        change = _Change(before, after)
        if not change.lost:
            after.estimated.update(before.estimated)
        if len(change.come) + len(change.gone) <= max(ALWAYS_FEW, len(after) // FEW):
            for digest, (protocol, derived) in tuple(before.derived.items()):
                after.derived[digest] = protocol, change.derivations(protocol, derived)


class _Unknown(Exception):
    """This cannot be known without all patients."""


class _Change:
    """From one cohort to another: the patients who are not the same, as they were (`gone`) and as they are (`come`)."""

    def __init__(self, before: Cohort, after: Cohort) -> None:
        places = {row.id: place for place, row in enumerate(before.patients)}
        old = np.array([places.get(row.id, -1) for row in after.patients], dtype=np.int64)
        same = old >= 0
        same[same] = before.digests[old[same]] == after.digests[same]
        self._come = np.flatnonzero(~same)
        self._number = np.full(len(before), -1, dtype=np.int64)
        self._number[old[same]] = np.flatnonzero(same)
        self._source = np.where(same, old, len(before))
        self._source[self._come] += np.arange(len(self._come))
        self.come, self.gone = self._come, np.flatnonzero(self._number < 0)
        self.lost = len(before) - int((old >= 0).sum())
        """How many patients are not there any more: perhaps they were erased."""
        self._before, self._after = before, after

    def derivations(self, protocol: Protocol, known: Derivations) -> Derivations:
        """These derivations of the first cohort, of the second."""
        come = DerivedStudy(_chosen(self._after, self.come), protocol)
        gone = DerivedStudy(_chosen(self._before, self.gone), protocol)
        properties: dict[str, Any] = {}
        for name, value in known.properties.items():
            try:
                before = getattr(gone, name) if name in _WITH_COUNTS else None
                properties[name] = self._changed(value, getattr(come, name), before)
            except _Unknown:
                continue
        if "values_sent" in properties:
            properties["values_sent"] = {code: count for code, count in properties["values_sent"].items() if count}
        return Derivations(
            properties,
            {
                rule: self._changed(value, come.response(rule), gone.response(rule))
                for rule, value in known.responses.items()
            },
            {
                measure: self._changed(counts, come.flags(measure), gone.flags(measure))
                for measure, counts in known.flags.items()
            },
            {at: self._visit(values, come.at_visit(*at)) for at, values in known.visits.items()},
        )

    def _changed(self, value: Any, come: Any, gone: Any) -> Any:  # noqa: ANN401 - derivations of many types
        """One derivation; `gone` is needed for counts only."""
        match value:
            case np.ndarray():
                return self._column(value, come)
            case tuple():
                every = (*value, *come)
                return tuple([every[place] for place in self._source.tolist()])
            case RunIn():
                return self._run_in(value, come, gone)
            case Mapping() | int() | frozenset():
                return _together(value, come, gone)
        columns = {
            part.name: (
                _gaps(value.gaps, come.gaps, gone.gaps)
                if part.name == "gaps" and isinstance(value, RemissionIntervals)
                else self._changed(
                    getattr(value, part.name), getattr(come, part.name), gone and getattr(gone, part.name)
                )
            )
            for part in fields(value)
        }
        return type(value)(**columns)

    def _column(self, value: np.ndarray, come: np.ndarray) -> np.ndarray:
        return np.concatenate([value, come])[self._source]

    def _visit(self, value: VisitValues, come: VisitValues) -> VisitValues:
        return VisitValues(
            **{part.name: self._column(getattr(value, part.name), getattr(come, part.name)) for part in fields(value)}
        )

    def _run_in(self, value: RunIn, come: RunIn, gone: RunIn) -> RunIn:
        """The run-in, without the places of its values among all analysis values: whatever reads these fails."""
        owner = self._number[value.patient]
        kept = owner >= 0
        patient = np.concatenate([owner[kept], self._come[come.patient]])
        order = np.argsort(patient, kind="stable")
        rows: dict[str, Any] = {
            name: np.concatenate([getattr(value, name)[kept], getattr(come, name)])[order]
            for name in ("value", "is_baseline", "bounded")
        }
        return RunIn(
            **rows,
            patient=patient[order],
            row=np.full(len(order), NO_TIME),
            mean=self._column(value.mean, come.mean),
            earlier_mean=self._column(value.earlier_mean, come.earlier_mean),
            zero_values=value.zero_values + come.zero_values - gone.zero_values,
        )


def _chosen(cohort: Cohort, patients: Ints) -> Cohort:
    """The cohort of these patients."""
    pieces: Sequence[Piece] = [Piece(cohort, place, place + 1) for place in patients.tolist()]
    return Cohort.of_pieces(pieces) if pieces else cohort.between(0, 0)


def _together(value: Any, come: Any, gone: Any) -> Any:  # noqa: ANN401 - as the values
    """A count, counts by code, or the names that occur."""
    if isinstance(value, int):
        return value + come - gone
    if isinstance(value, Mapping):
        return counted_together([value, come, {code: -count for code, count in gone.items()}])
    if not gone <= come:
        raise _Unknown
    return value | come


def _gaps(days: Ints, come: Ints, gone: Ints) -> Ints:
    """Days between draws, which are in no order: with those that came and without those that are gone."""
    size = 1 + int(max(each.max(initial=0) for each in (days, come, gone)))
    counts = np.bincount(days, minlength=size) + np.bincount(come, minlength=size) - np.bincount(gone, minlength=size)
    return np.repeat(np.arange(size), counts)
