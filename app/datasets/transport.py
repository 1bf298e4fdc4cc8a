"""Datasets as SAS transport files, version 5: the form in which regulators take data, and which SAS, R and Python read.

The extra `xpt` installs pyreadstat, which only this module imports; it takes a table of pandas. The same dataset gives
the same bytes: the header names the time of the revision, not the time of writing.

A number is a number of SAS, which holds each of ours to the last bit. A date counts days from 1960-01-01 and has the
format DATE9. A missing number or date is the missing value of SAS, a missing text is blank. Texts are UTF-8 of at most
200 bytes: a longer text goes on in further variables, so that nothing is cut off.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from importlib.util import find_spec
from typing import Any

from app.analyses.answer_document import Header
from app.datasets.variables import Dataset, Datum, Variable
from app.errors import NotAcceptable, NotInstalled

LONGEST_NAME, LONGEST_TEXT = 8, 200
LEAST, GREATEST = 16.0**-65, 16.0**63
"""Between these lie the positive numbers that SAS can hold."""
_DAY_0 = date(1960, 1, 1).toordinal()
_TIMES = (144, 160, 464, 480)
"""Where the header says when the library and its dataset were made and changed, in 16 bytes each."""
_TIME = re.compile(rb"\d\d[A-Z]{3}\d\d(:\d\d){3}")


def check_installed() -> None:
    """Raise `NotInstalled` if pyreadstat is missing, before anything is computed."""
    if find_spec("pyreadstat") is None:
        raise NotInstalled("SAS transport needs pyreadstat, which is not installed: pip install 'myoresponse[xpt]'")


def as_transport(pieces: Iterable[Dataset], header: Header) -> bytes:
    """A dataset as a transport file. Raises `NotAcceptable` if SAS cannot hold one of its numbers."""
    import pandas  # noqa: PLC0415 - the import takes half a second, and only workers write files
    import pyreadstat  # noqa: PLC0415 - it belongs to an extra, and brings pandas

    every = list(pieces)
    description = every[0].description
    columns: dict[str, Any] = {}
    labels: dict[str, str | None] = {}
    formats: dict[str, str] = {}
    for place, variable in enumerate(description.variables):
        cells = [cell for piece in every for cell in piece.columns[place]]
        for name, part in _columns(variable, cells):
            kind = object if variable.type == "text" else "float64"
            columns[name], labels[name] = pandas.Series(part, dtype=kind), variable.label
            if variable.type == "date":
                formats[name] = "DATE9"
    with tempfile.TemporaryFile() as file:  # it has no name: nobody else can open it, and nothing of it stays
        pyreadstat.write_xport(
            pandas.DataFrame(columns),
            f"/dev/fd/{file.fileno()}",
            file_label=description.label,
            column_labels=labels,
            table_name=description.name.upper(),
            file_format_version=5,
            variable_format=formats,
        )
        file.seek(0)
        return _made_at(file.read(), header.as_of)


def _columns(variable: Variable, cells: Sequence[Datum]) -> Iterator[tuple[str, Sequence[str | float | None]]]:
    """The columns of a variable in the file: one, and for a text of more than 200 bytes further ones."""
    if variable.type != "text":
        yield variable.transport, [_number(cell) for cell in cells]
        return
    parts = [_parts(str(cell or "")) for cell in cells]
    for number in range(max(map(len, parts), default=1)):
        yield continued(variable.transport, number), [each[number] if number < len(each) else "" for each in parts]


def continued(name: str, number: int) -> str:
    """The name of the variable with the part `number` of a long text: AETERM, AETERM1, AETERM2."""
    return f"{name[: LONGEST_NAME - len(str(number))]}{number}" if number else name


def _parts(text: str) -> list[str]:
    """The text in parts of at most 200 bytes that end in no blank, because a blank at the end is not kept."""
    parts = []
    while len(text.encode()) > LONGEST_TEXT:
        head = text.encode()[:LONGEST_TEXT].decode(errors="ignore")
        head = head.rstrip(" ") or head
        parts.append(head)
        text = text[len(head) :]
    return [*parts, text]


def _number(cell: Datum) -> float | None:
    if isinstance(cell, date):
        return float(cell.toordinal() - _DAY_0)
    if cell is None or cell == 0:
        return None if cell is None else 0.0
    number = float(cell)
    if not LEAST <= abs(number) < GREATEST:
        raise NotAcceptable("This dataset has a number that a SAS transport file cannot hold; take CSV or Parquet.")
    return number


def _made_at(content: bytes, as_of: str | None) -> bytes:
    """The file with the time of the revision in its header; without one 1960-01-01, the day 0 of SAS."""
    moment = datetime.fromisoformat(as_of or "1960-01-01T00:00:00Z")
    made = moment.strftime("%d%b%y:%H:%M:%S").upper().encode()
    changed = bytearray(content)
    for place in _TIMES:
        if not _TIME.fullmatch(content[place : place + len(made)]):
            raise ValueError("the header of the transport file has another form than expected")
        changed[place : place + len(made)] = made
    return bytes(changed)
