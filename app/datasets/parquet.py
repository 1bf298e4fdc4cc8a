"""A dataset as a Parquet file, typed and described; the only module that knows pyarrow, which an extra brings.

The same dataset gives the same bytes: nothing in the file tells when or where it was written.
"""

import io
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import chain
from typing import Any

from app.analyses.answer_document import Header
from app.datasets.variables import Dataset, DatasetDescription
from app.errors import NotInstalled


def check_installed() -> None:
    """Refuse to write Parquet where pyarrow is not installed, before anything is computed for it."""
    if find_spec("pyarrow") is None:
        raise NotInstalled("Parquet needs pyarrow, which is not installed: pip install 'myoresponse[parquet]'")


def as_parquet(pieces: Iterable[Dataset], header: Header) -> bytes:
    """A dataset as Parquet, each of its pieces (at least one) a row group.

    Each field has the label of its variable (and its unit) as metadata; the metadata of the file say what the dataset
    was computed from.
    """
    import pyarrow  # noqa: PLC0415 - it takes a third of a second, which a start need not wait for
    from pyarrow import parquet  # noqa: PLC0415

    types: dict[str, Any] = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "date": pyarrow.date32(),
    }
    remaining = iter(pieces)
    first = next(remaining)
    variables = first.description.variables
    fields = [
        pyarrow.field(each.name, types[each.type], metadata=_given(label=each.label, unit=each.unit))
        for each in variables
    ]
    schema = pyarrow.schema(fields, metadata=_about(first.description, header))
    file = io.BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for piece in chain([first], remaining):
            typed = zip(variables, piece.columns, strict=True)
            arrays = [pyarrow.array(column, types[each.type]) for each, column in typed]
            writer.write_table(pyarrow.table(arrays, schema=schema))
    return file.getvalue()


def _about(description: DatasetDescription, header: Header) -> dict[str, str]:
    provenance = header.provenance
    return _given(
        dataset=description.name,
        label=description.label,
        structure=description.structure,
        study=header.study,
        revision=None if header.revision is None else str(header.revision),
        as_of=header.as_of,
        protocol_id=provenance.protocol_id,
        protocol=provenance.protocol,
        data=provenance.data,
        software=provenance.software,
    )


def _given(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}
