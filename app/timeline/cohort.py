"""The cohort: the facts of a study as rows and as NumPy columns, with the fields that analyses read only.

The schema (`Read` in `facts.py`) says which fields these are and in which order rows have them and are sorted. A row is
a tuple: the patient's identifier, then these fields. The classes here give each column its type.

Rows are in one total order of their content (patient, code, day, time, issue time, value, ...), so that results do not
depend on the order of arrival or on the database. Patients are in code-point order of their identifiers. A missing
number is NaN and a missing time is `NO_TIME`; results never contain either of them.
"""

import hashlib
import json
from bisect import bisect_left
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.timeline.facts import KINDS, ORDERED, READ_BY_ANALYSES, Field, History
from app.timeline.merged_records import merged_history, records_of_persons, undecided_between
from app.timeline.number_rule import standing
from app.timeline.same_facts import NAMED, UndecidedPair, counted, decisions_in, pair_of, stated_apart, undecided
from app.timeline.times import DAY_MICROSECONDS, EPOCH, EPOCH_DAY

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Words = NDArray[np.object_]
Row = tuple[Any, ...]

DIGEST = np.dtype("S32")
"""The digest of one patient. NumPy sorts and joins such bytes as they are, also with zeros at their end."""
NO_TIME = -(2**62)
"""An absent instant or day in an integer column; it sorts before every real one."""

_READ = {(kind, field.name): field for kind in KINDS for field in READ_BY_ANALYSES[kind]}
COMPARATORS = {word: i for i, word in enumerate(_READ["labs", "comparator"].read.words)}


class PatientRow(NamedTuple):
    """The attributes of one patient; `None` if never stated."""

    id: str
    sex: str | None = None
    birth_year: int | None = None
    diagnosis: str | None = None
    weight_kg: float | None = None
    steroid_resistant: bool | None = None
    ended_day: int | None = None
    ended_reason: str | None = None
    attributes: tuple[tuple[str, str], ...] | None = None
    """The attributes that a protocol declares, by name."""
    undecided: tuple[UndecidedPair, ...] | None = None
    """The pairs of facts that both count until a person decides whether they are one."""


_LATER_ATTRIBUTES = PatientRow._fields.index("attributes")
"""Before there were attributes that a protocol declares, digests had what is before them."""


def patient_row(patient: str, attributes: dict[str, str], pairs: Iterable[UndecidedPair] = ()) -> PatientRow:
    """A patient's row from the JSON text of each attribute, with the pairs that wait for a decision."""
    read: dict[str, Any] = {name: json.loads(text) for name, text in attributes.items()}
    if "ended" in read:
        read["ended_day"] = date.fromisoformat(read["ended"]["date"]).toordinal() - EPOCH_DAY
        read["ended_reason"] = read["ended"]["reason"]
    if "weight_kg" in read:
        read["weight_kg"] = float(read["weight_kg"])
    if "attributes" in read:
        read["attributes"] = tuple(sorted(read["attributes"].items()))
    row = PatientRow(patient, **{name: read[name] for name in PatientRow._fields if name in read})
    waiting = sorted(pairs, key=lambda pair: (*pair[:2], pair.last_day is None, pair.last_day or 0))
    return row._replace(undecided=tuple(waiting)) if waiting else row


def _row_type(name: str, kind: str) -> type[Any]:
    names = ["patient", *[field.name for field in READ_BY_ANALYSES[kind]]]
    return namedtuple(name, names, defaults=[False] if names[-1] == ORDERED.name else None)


LabRow = _row_type("LabRow", "labs")
AssessmentRow = _row_type("AssessmentRow", "assessments")
InfusionRow = _row_type("InfusionRow", "infusions")
MedicationRow = _row_type("MedicationRow", "medications")
EventRow = _row_type("EventRow", "events")
"""Rows with named fields, to write them by hand; a plain tuple in the same order works too."""


def rows_of_facts(kind: str, patient: str, facts: Iterable[Any]) -> list[Row]:
    """The rows of one patient from the facts of one kind that count."""
    contents = (content_of(kind, fact) for fact in facts)
    return [(patient, *content) for content in contents if content is not None]


def content_of(kind: str, fact: Any) -> Row | None:  # noqa: ANN401 - a fact of that kind
    """The fields of a fact that analyses read, in the order of a row; `None` if a required one has no value."""
    return None if any(getattr(fact, name) is None for name in REQUIRED[kind]) else _CONTENT[kind](fact)


_CONTENT: dict[str, Callable[[Any], Row]] = {
    kind: attrgetter(*[field.name for field in declared]) for kind, declared in READ_BY_ANALYSES.items()
}
REQUIRED = {
    kind: tuple(field.name for field in declared if field.read.required) for kind, declared in READ_BY_ANALYSES.items()
}
"""Analyses do not read a fact that lacks one of these fields."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Read-only columns of the same length; `patient` is the index in `Cohort.patients`, ascending."""

    kind: ClassVar[str]
    patient: Ints

    def __post_init__(self) -> None:
        for part in fields(self):
            getattr(self, part.name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.patient)

    @classmethod
    def of_rows(cls, rows: Sequence[Row], place: Mapping[Any, int], zone: ZoneInfo | None) -> Self:
        """The columns of rows in any order; `place` is the index of each patient in the cohort."""
        patient, *values = columns_of(rows, 1 + len(READ_BY_ANALYSES[cls.kind]))
        return cls.in_order(patient, values, place, zone)[0]

    @classmethod
    def in_order(
        cls,
        patient: Sequence[Any],
        values: Sequence[Sequence[Any]],
        place: Mapping[Any, int],
        zone: ZoneInfo | None,
        rank: Ints | None = None,
    ) -> tuple[Self, Ints]:
        """The same of the columns of rows, with the place of each row of the table among them. Equal rows are in the
        order of their `rank`; without one they keep their order.
        """
        declared = READ_BY_ANALYSES[cls.kind]
        columns = {field.name: _column(field, cells) for field, cells in zip(declared, values, strict=True)}
        columns["patient"] = _mapped(patient, place)
        if zone is not None and "instant" in columns:
            columns["day"] = _zoned(columns["day"], columns["instant"], zone)
        keys = [columns[field.name] for field in sorted(declared, key=lambda field: -field.read.sort)]
        differing = [_rank(key) if key.dtype == np.object_ else key for key in keys if (key != key[:1]).any()]
        order = order_by([*(() if rank is None else (rank,)), *differing, columns["patient"]])
        return cls(**columns).where(order), order

    def where(self, keep: Bools | Ints) -> Self:
        """The rows that a mask or an index array selects, in that order; the table itself if that is all of them."""
        if len(keep) == len(self):
            every = keep.all() if keep.dtype == np.bool_ else np.array_equal(keep, np.arange(len(self)))
            if every:
                return self
        return type(self)(**{part.name: getattr(self, part.name)[keep] for part in fields(self)})

    def rows(self, part: slice) -> Self:
        """Neighbouring rows, with the numbers of their patients."""
        return type(self)(**{each.name: getattr(self, each.name)[part] for each in fields(self)})

    def of_patients(self, chosen: Ints, size: int) -> Self:
        """The rows of the chosen patients, renumbered by their index in `chosen` (ascending)."""
        place = np.full(size, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        moved = place[self.patient]
        kept = self.where(moved >= 0)
        columns = {part.name: getattr(kept, part.name) for part in fields(self)}
        return type(self)(**columns | {"patient": moved[moved >= 0]})

    def between(self, first: int, stop: int) -> Self:
        """The rows of the patients with numbers from `first` to `stop` - 1, renumbered from 0."""
        rows = self.rows_between(first, stop)
        columns = {part.name: getattr(self, part.name)[rows] for part in fields(self)}
        return type(self)(**columns | {"patient": columns["patient"] - first})

    def rows_between(self, first: int, stop: int) -> slice:
        """The slice of the rows of these patients."""
        return slice(*np.searchsorted(self.patient, [first, stop]).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Coded(Table):
    """Columns of facts with a code: `code` is the index of each in the words of the schema."""

    code: Ints

    def of(self, code: str) -> Self:
        """The facts of one analyte or instrument."""
        return self.where(self.code == _READ[self.kind, "code"].read.words.index(code))


@dataclass(frozen=True, slots=True, eq=False)
class Labs(Coded):
    """Laboratory results: `code` indexes `LAB_CODES`, `comparator` the values of `COMPARATORS`."""

    kind: ClassVar = "labs"
    day: Ints
    instant: Ints
    utc: Bools
    value: Floats
    upper_limit: Floats
    comparator: Ints
    issued: Ints
    lab: Words


@dataclass(frozen=True, slots=True, eq=False)
class Assessments(Coded):
    """Scores: `code` indexes `ASSESSMENT_CODES`; `scale_max` is NaN if none was declared."""

    kind: ClassVar = "assessments"
    day: Ints
    instant: Ints
    utc: Bools
    score: Floats
    scale_max: Floats
    issued: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Infusions(Table):
    """Infusions in order of time: `course` is 0 if the sender gave none."""

    kind: ClassVar = "infusions"
    product: Words
    day: Ints
    instant: Ints
    utc: Bools
    dose: Floats
    unit: Words
    course: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Medications(Table):
    """Drugs over time: `end_day` is `NO_TIME` while a drug is still taken. `ordered` marks orders."""

    kind: ClassVar = "medications"
    drug: Words
    start_day: Ints
    end_day: Ints
    dose: Floats
    unit: Words
    ordered: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Events(Table):
    """Adverse events: `day` is `NO_TIME` if the onset is unknown."""

    kind: ClassVar = "events"
    day: Ints
    instant: Ints
    utc: Bools
    term: Words
    severity: Words
    serious: Words
    related: Words


TABLES: dict[str, type[Table]] = {table.kind: table for table in (Labs, Assessments, Infusions, Medications, Events)}
"""The kinds of facts for which a cohort has columns."""


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
    """Whether the study declares a time zone; it then decides the day of every fact with a clock time."""

    def __len__(self) -> int:
        return len(self.patients)

    @classmethod
    def assemble(
        cls,
        patients: Iterable[PatientRow],
        labs: Sequence[Row],
        assessments: Sequence[Row],
        infusions: Sequence[Row],
        medications: Sequence[Row],
        events: Sequence[Row],
        time_zone: str | None = None,
        names: Mapping[int, str] | None = None,
    ) -> "Cohort":
        """The cohort of rows in any order. With `names`, rows begin with a number of the patient, which has this name.

        `time_zone` is the study's IANA zone. With it, the day of every row with a clock time is the calendar date in
        that zone; without it, the date as written.
        """
        ordered = tuple(sorted(patients, key=lambda row: row.id))
        place: dict[Any, int] = {row.id: i for i, row in enumerate(ordered)}
        if names is not None:
            place = {number: place[name] for number, name in names.items()}
        zone = ZoneInfo(time_zone) if time_zone else None
        return cls(
            ordered,
            Labs.of_rows(labs, place, zone),
            Assessments.of_rows(assessments, place, zone),
            Infusions.of_rows(infusions, place, zone),
            Medications.of_rows(medications, place, zone),
            Events.of_rows(events, place, zone),
            zone is not None,
        )

    @classmethod
    def of_histories(cls, histories: Iterable[History], time_zone: str | None = None) -> "Cohort":
        """The cohort of histories that are not stored, each record once.

        Of several assertions of one fact only the one that stands counts, as in the ledger; withdrawn facts do not
        count. Merged records are one patient. Of facts that are one by a decision, one counts. Each record is compared
        as if it was one submission.
        """
        patients: list[PatientRow] = []
        rows: dict[str, list[Row]] = {kind: [] for kind in TABLES}
        zone = ZoneInfo(time_zone) if time_zone else None
        for records in records_of_persons(histories):
            history = records[0] if len(records) == 1 else merged_history(records)
            attributes = {fact.identity: fact.value for fact in history.attributes}
            decisions = decisions_in(attributes)
            waiting: list[UndecidedPair] = []
            for kind in TABLES:
                facts = standing(kind, getattr(history, kind))
                rows[kind] += rows_of_facts(kind, history.patient, counted(kind, facts, decisions, zone))
                if kind in NAMED and len(facts) > 1:
                    named, stated = NAMED[kind], [getattr(record, kind) for record in records]
                    apart = [each for record in stated for each in stated_apart(standing(kind, record), zone)]
                    pairs = [pair_of(named, one.identity, other.identity) for one, other in apart]
                    pairs += undecided_between(named, stated, attributes, zone)
                    waiting += undecided(named, facts, dict.fromkeys(pairs), decisions, zone)
            patients.append(patient_row(history.patient, attributes, waiting))
        return cls.assemble(patients, **rows, time_zone=time_zone, names=None)

    @cached_property
    def derived(self) -> dict[str, Any]:
        """What was derived of this cohort and is kept as long as the cohort, by the digest of the protocol."""
        return {}

    @cached_property
    def estimated(self) -> dict[Any, Any]:
        """What was estimated and drawn of this cohort and is kept as long as the cohort (`known_estimates`)."""
        return {}

    @cached_property
    def waiting(self) -> dict[int, tuple[UndecidedPair, ...]]:
        """The pairs of facts that wait for a decision, by the numbers of their patients."""
        return {i: row.undecided for i, row in enumerate(self.patients) if row.undecided is not None}

    @cached_property
    def death_day(self) -> Ints:
        """The day of each patient's death; `NO_TIME` for none."""
        died = [row.ended_day if row.ended_reason == "died" else None for row in self.patients]
        return np.array([NO_TIME if day is None else day for day in died], dtype=np.int64)

    def know_death_day(self, days: Ints) -> None:
        """Take the day of each patient's death from where it is known."""
        vars(self)["death_day"] = days

    def select(self, chosen: Bools) -> "Cohort":
        """The cohort of the patients that a mask over `patients` selects."""
        rows, size = np.flatnonzero(chosen), len(self)
        tables = {name: getattr(self, name).of_patients(rows, size) for name in TABLES}
        return replace(self, patients=tuple(self.patients[i] for i in rows), **tables)

    def between(self, first: int, stop: int) -> "Cohort":
        """The cohort of the patients with numbers from `first` to `stop` - 1."""
        tables = {name: getattr(self, name).between(first, stop) for name in TABLES}
        return replace(self, patients=self.patients[first:stop], **tables)

    @classmethod
    def of_pieces(cls, pieces: Sequence["Piece"]) -> "Cohort":
        """The cohort of pieces of other cohorts, given in the order of the identifiers; no patient is in two of them.

        Digests of patients that the cohorts know already are not computed again.
        """
        tables: dict[str, Any] = {kind: _spliced(kind, pieces) for kind in TABLES}
        patients = tuple(chain.from_iterable(cohort.patients[first:stop] for cohort, first, stop in pieces))
        whole = cls(patients, **tables, zoned=any(cohort.zoned for cohort, _, _ in pieces))
        if all(cohort.knows_digests for cohort, _, _ in pieces):
            whole.know_digests(np.concatenate([cohort.digests[first:stop] for cohort, first, stop in pieces]))
        return whole

    def with_persons(self, new: "Cohort", gone: Collection[str] = ()) -> "Cohort":
        """This cohort with the patients of another one, also instead of its own, and without those that are `gone`."""
        if self.knows_digests:
            _ = new.digests
        places = {row.id: i for i, row in enumerate(new.patients)}
        pieces, begin = [], 0
        for patient in sorted({*places, *gone}):
            at = self.place_of(patient)
            pieces.append(Piece(self, begin, at))
            begin = at + self.has(patient)
            if patient in places:
                pieces.append(Piece(new, places[patient], places[patient] + 1))
        pieces.append(Piece(self, begin, len(self)))
        return Cohort.of_pieces([piece for piece in pieces if piece.stop > piece.first] or [Piece(new, 0, len(new))])

    def place_of(self, patient: str) -> int:
        """The number of a patient, or the one that the patient would have."""
        return bisect_left(self.patients, patient, key=attrgetter("id"))

    def has(self, patient: str) -> bool:
        """Whether the cohort has a patient with this identifier."""
        at = self.place_of(patient)
        return at < len(self) and self.patients[at].id == patient

    @property
    def knows_digests(self) -> bool:
        """Whether the digests of the patients were computed or taken."""
        return "digests" in vars(self)

    def know_digests(self, digests: NDArray[np.bytes_]) -> None:
        """Take the digests of the patients from where they are known."""
        digests.setflags(write=False)
        vars(self)["digests"] = digests

    @cached_property
    def digest(self) -> str:
        """`sha256:...` over the sorted facts that analyses read.

        It does not depend on identifiers of patients and facts, formats, revisions or the order of arrival, and on
        sources only in this: which facts wait for a decision whether they are one.
        The facts of each patient are hashed in their total order, then the sorted hashes of the patients.
        """
        return digest_of_patients(self.digests, zoned=self.zoned)

    @cached_property
    def digests(self) -> NDArray[np.bytes_]:
        """For each patient the 32 bytes of the hash of the facts that analyses read."""
        tables: list[Table] = [getattr(self, name) for name in TABLES]
        bounds = [np.searchsorted(table.patient, np.arange(len(self) + 1)).tolist() for table in tables]
        printed = [_printed(table, self.zoned) for table in tables]
        ordered, of_drugs = self.medications.ordered, bounds[list(TABLES).index("medications")]
        leaves = []
        for i, row in enumerate(self.patients):
            stated = row[1 : _LATER_ATTRIBUTES + (row.attributes is not None)]
            leaf = hashlib.sha256(repr(stated).encode())
            for k, columns in enumerate(printed):
                first, last = bounds[k][i], bounds[k][i + 1]
                leaf.update(b"%d|%d" % (k, last - first))
                for column in columns:
                    leaf.update(column[8 * first : 8 * last] if isinstance(column, bytes)
                                else repr(column[first:last]).encode())  # fmt: skip
            orders = ordered[of_drugs[i] : of_drugs[i + 1]]
            if orders.any():  # without one the digest is that of the time before there were orders
                leaf.update(b"ordered" + orders.tobytes())
            if row.undecided is not None:
                leaf.update(b"undecided" + repr([tuple(pair) for pair in row.undecided]).encode())
            leaves.append(leaf.digest())
        return np.frombuffer(b"".join(leaves), dtype=DIGEST)


def digest_of_patients(digests: NDArray[np.bytes_], *, zoned: bool) -> str:
    """`Cohort.digest` of patients with these digests, in any order."""
    return "sha256:" + hashlib.sha256(bytes([zoned]) + np.sort(digests).tobytes()).hexdigest()


class Piece(NamedTuple):
    """The patients with the numbers from `first` to `stop` - 1 of a cohort."""

    cohort: Cohort
    first: int
    stop: int


def _spliced(kind: str, pieces: Sequence[Piece]) -> Table:
    """The rows of the pieces, one after the other; patients are renumbered."""
    tables = [getattr(cohort, kind) for cohort, _, _ in pieces]
    rows = [table.rows_between(first, stop) for table, (_, first, stop) in zip(tables, pieces, strict=True)]
    columns = {
        part.name: np.concatenate([getattr(table, part.name)[mine] for table, mine in zip(tables, rows, strict=True)])
        for part in fields(TABLES[kind])
        if part.name != "patient"
    }
    sizes = [stop - first for _, first, stop in pieces]
    shifts = [end - size - first for end, size, (_, first, _) in zip(accumulate(sizes), sizes, pieces, strict=True)]
    columns["patient"] = np.concatenate(
        [table.patient[mine] + shift for table, mine, shift in zip(tables, rows, shifts, strict=True)]
    )
    return TABLES[kind](**columns)


def _printed(table: Table, zoned: bool) -> list[Any]:
    """The columns in a form that can be hashed: numbers as 8 bytes, little-endian (with one form of NaN), words as
    lists.
    """
    columns: list[Any] = []
    for field in READ_BY_ANALYSES[table.kind]:
        column = getattr(table, field.name)
        if field is ORDERED or (zoned and field.name == "utc"):  # `utc`: only how reliable a day as written is
            continue
        if column.dtype == object:
            columns.append(column.tolist())
        elif column.dtype == np.float64:
            columns.append(np.where(np.isnan(column), np.nan, column).astype("<f8").tobytes())
        else:
            columns.append(column.astype("<i8").tobytes())
    return columns


def cells(table: Table, name: str) -> list[Any]:
    """The values of a column as they were in the rows."""
    field, values = _READ[table.kind, name], getattr(table, name).tolist()
    if field.read.words:
        return [field.read.words[place] for place in values]
    if field.type is float:
        return [None if number != number else number for number in values]  # noqa: PLR0124 - NaN
    if field.type is int and field.optional:
        absent = NO_TIME if field.read.absent is None else field.read.absent
        return [None if number == absent else number for number in values]
    return list(values)


def _column(field: Field, values: Sequence[Any]) -> NDArray[Any]:
    """Values of one field as a column; the type of the field decides the type of the column."""
    if field.read.words:
        return _mapped(values, {word: place for place, word in enumerate(field.read.words)})
    if field.type is float:
        return np.array(values, np.float64) if field.optional else np.fromiter(values, np.float64, len(values))
    if field.type is int:
        absent = NO_TIME if field.read.absent is None else field.read.absent
        numbers = [absent if number is None else number for number in values] if field.optional else values
        return np.fromiter(numbers, dtype=np.int64, count=len(numbers))
    if field.type is bool:
        if not field.optional:
            return np.array(values, dtype=np.bool_)
        values = [None if flag is None else bool(flag) for flag in values]  # SQLite stores them as numbers
    column = np.empty(len(values), dtype=np.object_)
    known = {value: value for value in values}
    column[:] = [known[value] for value in values]  # each word once in memory
    return column


def _zoned(day: Ints, instant: Ints, zone: ZoneInfo) -> Ints:
    """The calendar day of each row in the study's zone if its instant is known, otherwise as written."""
    timed = np.flatnonzero(instant != NO_TIME)
    unique, back = np.unique(instant[timed], return_inverse=True)
    local = np.empty(len(unique), dtype=np.int64)
    for i, at in enumerate(unique.tolist()):
        offset = (EPOCH + timedelta(microseconds=at)).astimezone(zone).utcoffset() or timedelta(0)
        local[i] = (at + offset // timedelta(microseconds=1)) // DAY_MICROSECONDS
    zoned = day.copy()
    zoned[timed] = local[back]
    return zoned


def order_by(keys: Sequence[NDArray[Any]]) -> Ints:
    """The order of rows by these keys, the last key first; rows that are in order already are not sorted."""
    tied = np.ones(max(len(keys[-1]) - 1, 0), dtype=np.bool_)
    for key in reversed(keys):
        if not (key[1:] >= key[:-1])[tied].all():  # NaN is never in order
            return np.lexsort(keys)
        tied &= key[1:] == key[:-1]
    return np.arange(len(keys[-1]))


def columns_of(rows: Sequence[Row], width: int) -> list[Sequence[Any]]:
    """The columns of rows, which have so many fields."""
    return [*zip(*rows, strict=True)] if rows else [()] * width


def _mapped(words: Sequence[Any], numbers: Mapping[Any, int]) -> Ints:
    return np.fromiter(map(numbers.__getitem__, words), dtype=np.int64, count=len(words))


def _rank(words: Words) -> Ints:
    """The rank of each word in code-point order; an absent word is the first."""
    distinct = sorted({word for word in words if word is not None})
    place: dict[Any, int] = {word: i for i, word in enumerate(distinct, 1)}
    place[None] = 0
    return _mapped(words.tolist(), place)
