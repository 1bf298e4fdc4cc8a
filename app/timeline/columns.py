"""The histories of a study as NumPy columns: what analyses read, and nothing else.

Rows are held in one total order of their content (patient, code, day, time, issue time, value, ...), so that neither
the order of arrival nor the database decides any digit. Patients stand in code-point order of their identifiers. A
missing number is NaN, a missing time is `NO_TIME`; both stay inside: results never carry them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Self, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.timeline.history import History, standing
from app.timeline.moments import DAY_MICROSECONDS, EPOCH
from app.timeline.persons import people_of
from app.timeline.rows import AssessmentRow, EventRow, InfusionRow, LabRow, MedicationRow, PatientRow, patient_row
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Words = NDArray[np.object_]

NO_TIME = -(2**62)
"""Stands for an absent instant or day in integer columns; it sorts before every real one."""

COMPARATORS: dict[str | None, int] = {None: 0, "<": 1, "<=": 2, ">=": 3, ">": 4}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of one length that cannot be written to; `patient` is the row in `Cohort.patients`, ascending."""

    patient: Ints

    def __post_init__(self) -> None:
        for part in fields(self):
            getattr(self, part.name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.patient)

    def where(self, keep: Bools | Ints) -> Self:
        """The rows that a mask or an index array picks, in that order; the table itself where that is all of them."""
        every = keep.all() if keep.dtype == np.bool_ else np.array_equal(keep, np.arange(len(self)))
        if len(keep) == len(self) and every:
            return self
        return type(self)(**{part.name: getattr(self, part.name)[keep] for part in fields(self)})

    def of_patients(self, chosen: Ints, size: int) -> Self:
        """The rows of the chosen patients, renumbered by their place in `chosen` (ascending row numbers)."""
        place = np.full(size, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        moved = place[self.patient]
        kept = self.where(moved >= 0)
        columns = {part.name: getattr(kept, part.name) for part in fields(self)}
        return type(self)(**columns | {"patient": moved[moved >= 0]})

    def between(self, first: int, stop: int) -> Self:
        """The rows of the patients from number `first` on and before number `stop`, who are numbered from 0."""
        rows = self.rows_between(first, stop)
        columns = {part.name: getattr(self, part.name)[rows] for part in fields(self)}
        return type(self)(**columns | {"patient": columns["patient"] - first})

    def rows_between(self, first: int, stop: int) -> slice:
        """Where the rows of these patients are."""
        return slice(*np.searchsorted(self.patient, [first, stop]).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Labs(Table):
    """Laboratory results: `code` indexes `LAB_CODES`, `comparator` the values of `COMPARATORS`."""

    code: Ints
    day: Ints
    instant: Ints
    utc: Bools
    value: Floats
    upper_limit: Floats
    comparator: Ints
    issued: Ints
    lab: Words

    def of(self, code: str) -> Self:
        """The results of one analyte."""
        return self.where(self.code == LAB_CODES.index(cast(Any, code)))


@dataclass(frozen=True, slots=True, eq=False)
class Assessments(Table):
    """Scores: `code` indexes `ASSESSMENT_CODES`; `scale_max` is NaN where none was declared."""

    code: Ints
    day: Ints
    instant: Ints
    utc: Bools
    score: Floats
    scale_max: Floats
    issued: Ints

    def of(self, code: str) -> Self:
        """The scores of one instrument."""
        return self.where(self.code == ASSESSMENT_CODES.index(cast(Any, code)))


@dataclass(frozen=True, slots=True, eq=False)
class Infusions(Table):
    """Infusions in order of time: `course` is 0 where the sender gave none."""

    product: Words
    day: Ints
    instant: Ints
    utc: Bools
    dose: Floats
    unit: Words
    course: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Medications(Table):
    """Drugs over time: `end_day` is `NO_TIME` while one goes on."""

    drug: Words
    start_day: Ints
    end_day: Ints
    dose: Floats
    unit: Words


@dataclass(frozen=True, slots=True, eq=False)
class Events(Table):
    """Adverse events: `day` is `NO_TIME` where the onset is unknown."""

    day: Ints
    instant: Ints
    utc: Bools
    term: Words
    severity: Words
    serious: Words
    related: Words


_TABLES = ("labs", "assessments", "infusions", "medications", "events")


@dataclass(frozen=True)
class Cohort:
    """All that analyses read of a study at one revision."""

    patients: tuple[PatientRow, ...]
    labs: Labs
    assessments: Assessments
    infusions: Infusions
    medications: Medications
    events: Events
    zoned: bool
    """Whether the study declares a time zone, in which every day with a clock time was counted."""

    def __len__(self) -> int:
        return len(self.patients)

    @classmethod
    def assemble(
        cls,
        patients: Iterable[PatientRow],
        labs: Sequence[LabRow],
        assessments: Sequence[AssessmentRow],
        infusions: Sequence[InfusionRow],
        medications: Sequence[MedicationRow],
        events: Sequence[EventRow],
        time_zone: str | None = None,
    ) -> "Cohort":
        """The cohort of rows in any order.

        `time_zone` is the study's IANA zone; with it the day of every row that has a clock time is the calendar date
        there, without it the date as written. Plain tuples in the order of the row types are accepted as rows.
        """
        people = tuple(sorted(patients, key=lambda row: row.id))
        place = {row.id: i for i, row in enumerate(people)}
        zone = ZoneInfo(time_zone) if time_zone else None
        return cls(
            people,
            _labs(_columns(labs, 10), place, zone),
            _assessments(_columns(assessments, 8), place, zone),
            _infusions(_columns(infusions, 8), place, zone),
            _medications(_columns(medications, 6), place),
            _events(_columns(events, 8), place, zone),
            zone is not None,
        )

    @classmethod
    def of_histories(cls, histories: Iterable[History], time_zone: str | None = None) -> "Cohort":
        """The cohort of histories that were never stored, each patient once.

        Of several assertions of one fact the one that stands counts, as in the ledger; a withdrawn fact does not.
        Records that are merged are one patient.
        """
        people: list[PatientRow] = []
        labs: list[LabRow] = []
        scores: list[AssessmentRow] = []
        infusions: list[InfusionRow] = []
        medications: list[MedicationRow] = []
        events: list[EventRow] = []
        for one in people_of(histories):
            who = one.patient
            people.append(patient_row(who, {fact.identity: fact.value for fact in one.attributes}))
            labs += [
                LabRow(who, x.code, x.day, x.instant, x.utc, x.value, x.upper_limit, x.comparator, x.issued, x.lab)
                for x in standing(one.labs)
                if x.value is not None
            ]
            scores += [
                AssessmentRow(who, x.code, x.day, x.instant, x.utc, x.score, x.scale_max, x.issued)
                for x in standing(one.assessments)
                if x.score is not None
            ]
            infusions += [
                InfusionRow(who, x.product, x.day, x.instant, x.utc, x.dose, x.unit, x.course)
                for x in standing(one.infusions)
            ]
            medications += [
                MedicationRow(who, x.drug, x.start_day, x.end_day, x.dose, x.unit) for x in standing(one.medications)
            ]
            events += [
                EventRow(who, x.day, x.instant, x.utc, x.term, x.severity, x.serious, x.related)
                for x in standing(one.events)
            ]
        return cls.assemble(people, labs, scores, infusions, medications, events, time_zone)

    def select(self, chosen: Bools) -> "Cohort":
        """The cohort of the patients that a mask over `patients` picks."""
        rows, size = np.flatnonzero(chosen), len(self)
        tables = {name: getattr(self, name).of_patients(rows, size) for name in _TABLES}
        return replace(self, patients=tuple(self.patients[i] for i in rows), **tables)

    def between(self, first: int, stop: int) -> "Cohort":
        """The cohort of the patients from number `first` on and before number `stop`."""
        tables = {name: getattr(self, name).between(first, stop) for name in _TABLES}
        return replace(self, patients=self.patients[first:stop], **tables)

    @cached_property
    def digest(self) -> str:
        """`sha256:...` over the sorted facts that analyses read.

        Identifiers of patients and facts, sources, formats and revisions do not enter, nor does the order of arrival.
        Each patient's facts are hashed in their total order, then the sorted hashes of the patients.
        """
        tables: list[Table] = [getattr(self, name) for name in _TABLES]
        bounds = [np.searchsorted(table.patient, np.arange(len(self) + 1)) for table in tables]
        unread = {"patient", *(["utc"] if self.zoned else [])}
        printed = [_printed(table, unread) for table in tables]
        leaves = []
        for i, row in enumerate(self.patients):
            leaf = hashlib.sha256(repr(row[1:]).encode())
            for k, columns in enumerate(printed):
                first, last = bounds[k][i], bounds[k][i + 1]
                leaf.update(b"%d|%d" % (k, last - first))
                for column in columns:
                    leaf.update(column[first:last].tobytes() if isinstance(column, np.ndarray)
                                else repr(column[first:last]).encode())  # fmt: skip
            leaves.append(leaf.digest())
        return "sha256:" + hashlib.sha256(b"".join([bytes([self.zoned]), *sorted(leaves)])).hexdigest()


def _printed(table: Table, unread: set[str]) -> list[Any]:
    """Columns whose bytes are the content: numbers little-endian (NaN in one form), words as lists."""
    columns: list[Any] = []
    for part in fields(table):
        column = getattr(table, part.name)
        if part.name in unread:
            continue
        if column.dtype == object:
            columns.append(column.tolist())
        elif column.dtype == np.float64:
            columns.append(np.where(np.isnan(column), np.nan, column).astype("<f8"))
        else:
            columns.append(column.astype("<i8"))
    return columns


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _labs(c: list[Sequence[Any]], place: dict[str, int], zone: ZoneInfo | None) -> Labs:
    code_of = {code: i for i, code in enumerate(LAB_CODES)}
    patient, code, instant = _mapped(c[0], place), _mapped(c[1], cast(dict[Any, int], code_of)), _times(c[3])
    day, value, upper = _days(_ints(c[2]), instant, zone), _floats(c[5]), _floats(c[6])
    comparator, issued, lab = _mapped(c[7], COMPARATORS), _times(c[8]), _words(c[9])
    utc = _bools(c[4])
    order = np.lexsort((utc, _rank(lab), comparator, upper, value, issued, instant, day, code, patient))
    return Labs(patient, code, day, instant, utc, value, upper, comparator, issued, lab).where(order)


def _assessments(c: list[Sequence[Any]], place: dict[str, int], zone: ZoneInfo | None) -> Assessments:
    code_of = {code: i for i, code in enumerate(ASSESSMENT_CODES)}
    patient, code, instant = _mapped(c[0], place), _mapped(c[1], cast(dict[Any, int], code_of)), _times(c[3])
    day, score, scale, issued = _days(_ints(c[2]), instant, zone), _floats(c[5]), _floats(c[6]), _times(c[7])
    utc = _bools(c[4])
    order = np.lexsort((utc, scale, score, issued, instant, day, code, patient))
    return Assessments(patient, code, day, instant, utc, score, scale, issued).where(order)


def _infusions(c: list[Sequence[Any]], place: dict[str, int], zone: ZoneInfo | None) -> Infusions:
    patient, product, instant = _mapped(c[0], place), _words(c[1]), _times(c[3])
    day, dose, unit = _days(_ints(c[2]), instant, zone), _floats(c[5]), _words(c[6])
    course = np.array([number or 0 for number in c[7]], dtype=np.int64)
    utc = _bools(c[4])
    order = np.lexsort((utc, course, _rank(unit), dose, _rank(product), instant, day, patient))
    return Infusions(patient, product, day, instant, utc, dose, unit, course).where(order)


def _medications(c: list[Sequence[Any]], place: dict[str, int]) -> Medications:
    patient, drug, start, end = _mapped(c[0], place), _words(c[1]), _ints(c[2]), _times(c[3])
    dose, unit = _floats(c[4]), _words(c[5])
    order = np.lexsort((_rank(unit), dose, end, _rank(drug), start, patient))
    return Medications(patient, drug, start, end, dose, unit).where(order)


def _events(c: list[Sequence[Any]], place: dict[str, int], zone: ZoneInfo | None) -> Events:
    patient, instant = _mapped(c[0], place), _times(c[2])
    day, term = _days(_times(c[1]), instant, zone), _words(c[4])
    severity, serious, related = _words(c[5]), _words([None if s is None else bool(s) for s in c[6]]), _words(c[7])
    utc = _bools(c[3])
    order = np.lexsort((utc, _rank(severity), _rank(related), _rank(serious), _rank(term), instant, day, patient))
    return Events(patient, day, instant, utc, term, severity, serious, related).where(order)


def _days(day: Ints, instant: Ints, zone: ZoneInfo | None) -> Ints:
    """The calendar day of each row: as written, or that of the instant in the study's zone where both are known."""
    if zone is None:
        return day
    timed = np.flatnonzero(instant != NO_TIME)
    unique, back = np.unique(instant[timed], return_inverse=True)
    local = np.empty(len(unique), dtype=np.int64)
    for i, at in enumerate(unique.tolist()):
        offset = (EPOCH + timedelta(microseconds=at)).astimezone(zone).utcoffset() or timedelta(0)
        local[i] = (at + offset // timedelta(microseconds=1)) // DAY_MICROSECONDS
    zoned = day.copy()
    zoned[timed] = local[back]
    return zoned


def _mapped(words: Sequence[Any], numbers: dict[Any, int]) -> Ints:
    return np.fromiter(map(numbers.__getitem__, words), dtype=np.int64, count=len(words))


def _ints(numbers: Sequence[int]) -> Ints:
    return np.array(numbers, dtype=np.int64)


def _times(numbers: Sequence[int | None]) -> Ints:
    return np.array([NO_TIME if number is None else number for number in numbers], dtype=np.int64)


def _floats(numbers: Sequence[float | None]) -> Floats:
    return np.array(numbers, dtype=np.float64)


def _bools(flags: Sequence[Any]) -> Bools:
    return np.array(flags, dtype=np.bool_)


def _words(words: Sequence[Any]) -> Words:
    column = np.empty(len(words), dtype=np.object_)
    column[:] = words
    return column


def _rank(words: Words) -> Ints:
    """The place of each word in code-point order; an absent word comes first."""
    distinct = sorted({word for word in words if word is not None})
    place: dict[Any, int] = {word: i for i, word in enumerate(distinct, 1)}
    place[None] = 0
    return _mapped(words.tolist(), place)
