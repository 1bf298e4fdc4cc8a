"""The cohort as Arrow record batches, and back: the one form in which columns leave a process.

A row of a batch is one patient, with all facts of the patient: a list for each kind, whose items have the fields that
analyses read. So a batch holds whole patients and can be used without the others, as a part of a segment, of a Parquet
file or of a table of another engine. Batches of patients in the order of their identifiers are a cohort again, equal to
the bit: absent numbers keep the values that they have in the columns (`cohort.NO_TIME`, NaN).

The extra `parquet` installs pyarrow. It is imported when the first batch is made or read.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, get_type_hints
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from app.timeline.cohort import DIGEST, TABLES, Cohort, Ints, PatientRow
from app.timeline.facts import READ_BY_ANALYSES, Field
from app.timeline.same_facts import UndecidedPair

Batch = Any
"""A `pyarrow.RecordBatch`; pyarrow publishes no types."""
FORM = 1
"""The way in which columns become arrays."""
PERSONS = 2_048
"""About how many patients a batch has. Where it ends depends only on identifiers, so that a new patient changes one."""
_MOST = 4 * PERSONS
_TRUTHS = np.array([False, True, None], dtype=np.object_)


def can_be_made() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


@cache
def schema() -> Any:  # noqa: ANN401 - a schema of pyarrow
    """The columns of a batch. Fields with words have their place in the words of the schema of facts."""
    import pyarrow as arrow

    text, number, whole = arrow.string(), arrow.float64(), arrow.int64()
    about = {
        "sex": text, "birth_year": whole, "diagnosis": text, "weight_kg": number, "steroid_resistant": arrow.bool_(),
        "ended_day": whole, "ended_reason": text, "attributes": arrow.map_(text, text),
        "undecided": arrow.list_(arrow.struct([("kind", text), ("word", text), ("last_day", whole)])),
    }  # fmt: skip
    kinds = {
        kind: arrow.list_(arrow.struct([(field.name, _type_of(field)) for field in READ_BY_ANALYSES[kind]]))
        for kind in TABLES
    }
    columns = {"id": text, "digest": arrow.binary(DIGEST.itemsize)} | about | kinds
    assert list(about) == list(PatientRow._fields[1:])  # noqa: S101 - a new attribute has a column
    return arrow.schema(list(columns.items()))


def meaning() -> str:
    """A digest of what the columns mean: batches of other columns, or of other words, are not read."""
    columns = [
        (kind, field.name, field.type.__name__, field.optional, field.read.words, field.read.absent)
        for kind in TABLES
        for field in READ_BY_ANALYSES[kind]
    ]
    return hashlib.sha256(repr((FORM, get_type_hints(PatientRow), columns)).encode()).hexdigest()


def ends(cohort: Cohort) -> list[int]:
    """The numbers of the patients after which a batch ends."""
    found, begin = [], 0
    for i, row in enumerate(cohort.patients, 1):
        if i - begin >= _MOST or crc32(row.id.encode()) % PERSONS == 0:
            found.append(i)
            begin = i
    return found if begin == len(cohort) else [*found, len(cohort)]


def batches_of(cohort: Cohort) -> Iterator[Batch]:
    """The patients of a cohort in batches. A cohort without patients has none."""
    for first, stop in pairwise([0, *ends(cohort)]):
        yield batch_of(cohort, first, stop)


def batch_of(cohort: Cohort, first: int, stop: int) -> Batch:
    """The patients with the numbers from `first` to `stop` - 1 as one batch."""
    import pyarrow as arrow

    form = schema()
    people = zip(*cohort.patients[first:stop], strict=True)
    columns = [arrow.array(values, form.field(name).type)
               for name, values in zip(PatientRow._fields[:-1], people, strict=False)]  # fmt: skip
    pairs = [row.undecided and [pair._asdict() for pair in row.undecided] for row in cohort.patients[first:stop]]
    columns.append(arrow.array(pairs, form.field("undecided").type))
    digests = arrow.py_buffer(np.ascontiguousarray(cohort.digests[first:stop]))
    columns.insert(1, arrow.FixedSizeBinaryArray.from_buffers(form.field("digest").type, stop - first, [None, digests]))
    for kind in TABLES:
        table = getattr(cohort, kind)
        rows = table.rows_between(first, stop)
        bounds = np.searchsorted(table.patient[rows], np.arange(first, stop + 1)).astype(np.int32)
        items = [_array(field, getattr(table, field.name)[rows]) for field in READ_BY_ANALYSES[kind]]
        facts = arrow.StructArray.from_arrays(items, fields=list(form.field(kind).type.value_type))
        columns.append(arrow.ListArray.from_arrays(arrow.array(bounds), facts))
    return arrow.record_batch(columns, schema=form)


def cohort_of(batches: Sequence[Batch], *, zoned: bool) -> Cohort:
    """The cohort of batches, given in the order of the identifiers of their patients. No memory is shared with them."""
    people = zip(*(_values(batches, name) for name in PatientRow._fields), strict=True)
    patients = tuple(map(_patient, people))
    cohort = Cohort(patients, **{kind: _table(kind, batches) for kind in TABLES}, zoned=zoned)
    digests = [_raw(batch.column("digest"), DIGEST) for batch in batches]
    cohort.know_digests(np.concatenate([np.empty(0, DIGEST), *digests]))
    return cohort


def _patient(values: Sequence[Any]) -> PatientRow:
    *plain, attributes, undecided = values
    pairs = None if undecided is None else tuple(UndecidedPair(**pair) for pair in undecided)
    return PatientRow._make((*plain, None if attributes is None else tuple(attributes), pairs))


def _values(batches: Sequence[Batch], name: str) -> list[Any]:
    return [value for batch in batches for value in batch.column(name).to_pylist()]


def _table(kind: str, batches: Sequence[Batch]) -> Any:  # noqa: ANN401 - a table of this kind
    lists = [batch.column(kind) for batch in batches]
    counts = [np.diff(each.offsets.to_numpy()) for each in lists]
    owners: Ints = np.repeat(np.arange(sum(map(len, counts))), np.concatenate([np.empty(0, np.int64), *counts]))
    items = [each.flatten().flatten() for each in lists]
    columns = {field.name: _column(field, [each[i] for each in items])
               for i, field in enumerate(READ_BY_ANALYSES[kind])}  # fmt: skip
    return TABLES[kind](patient=owners, **columns)


def _type_of(field: Field) -> Any:  # noqa: ANN401 - a type of pyarrow
    import pyarrow as arrow

    if field.type is str and not field.read.words:
        return arrow.dictionary(arrow.int32(), arrow.string())
    numbers = {float: arrow.float64(), int: arrow.int64()}
    return numbers.get(field.type, arrow.int8())  # a place among words, or a truth


def _array(field: Field, column: NDArray[Any]) -> Any:  # noqa: ANN401 - an array of pyarrow
    import pyarrow as arrow

    if field.type is str and not field.read.words:
        return arrow.array(column, arrow.string()).dictionary_encode()
    if field.type is bool and field.optional:
        return arrow.array([2 if truth is None else int(truth) for truth in column.tolist()], arrow.int8())
    return arrow.array(column.astype(np.int8) if field.read.words or field.type is bool else column)


def _column(field: Field, arrays: Sequence[Any]) -> NDArray[Any]:
    if field.type is str and not field.read.words:
        return _words(arrays)
    if field.type is bool and field.optional:
        return np.concatenate([np.empty(0, np.object_), *(_TRUTHS[each.to_numpy()] for each in arrays)])
    kept: type[Any] = np.float64 if field.type is float else np.bool_ if field.type is bool else np.int64
    parts = [np.empty(0, kept), *(each.to_numpy() for each in arrays)]
    return np.concatenate(parts, dtype=kept, casting="unsafe")


def _words(arrays: Sequence[Any]) -> NDArray[np.object_]:
    """Texts, each once in memory."""
    known: dict[str | None, str | None] = {}
    parts = [np.empty(0, np.object_)]
    for array in arrays:
        coded = array if hasattr(array, "dictionary") else array.dictionary_encode()
        words = np.array([*(known.setdefault(word, word) for word in coded.dictionary.to_pylist()), None], np.object_)
        parts.append(words[coded.indices.fill_null(len(words) - 1).to_numpy()])
    return np.concatenate(parts)


def _raw(array: Any, kind: np.dtype[Any]) -> NDArray[Any]:  # noqa: ANN401 - an array of fixed length of pyarrow
    whole = np.frombuffer(array.buffers()[1], dtype=kind)
    return whole[array.offset : array.offset + len(array)]


def to_bytes(batch: Batch) -> bytes:
    """A batch as a file of Arrow."""
    import pyarrow as arrow

    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def map_file(path: str, check: Callable[[Any], object]) -> Batch:
    """The batch of a file, whose bytes are mapped and read only where they are used. `check` sees all of them first.

    Raises `OSError`, and what `check` raises.
    """
    import pyarrow as arrow

    with arrow.memory_map(path) as file:
        content = file.read_buffer()
    check(content)
    return arrow.ipc.open_file(content).get_batch(0)
