"""Exported files read again as a statistician would: CSV with the csv module, Parquet with pyarrow, SAS transport with
pandas, whose reader is not that of the package that wrote it.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas
from pyarrow import parquet

from app.analyses.answer_document import Header, Provenance
from app.datasets import Dataset, as_csv, dataset, describe
from app.datasets.parquet import as_parquet
from app.datasets.transport import as_transport
from app.timeline.cohort import Cohort
from app.timeline.source_facts import Sources

Row = dict[str, Any]
HEADER = Header(
    study="trial",
    revision=3,
    as_of="2026-11-22T10:00:00Z",
    provenance=Provenance(
        protocol="sha256:p",
        protocol_id="p",
        protocol_changed_after_first_outcome=None,
        data="sha256:d",
        software="s 1",
    ),
)
_READ = {"text": str, "integer": int, "number": float, "date": date.fromisoformat}


def of_csv(text: str, types: Mapping[str, str]) -> list[Row]:
    """The rows of a table; an empty cell is missing."""
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return [{name: _READ[types[name]](cell) if cell else None for name, cell in row.items()} for row in rows]


def of_parquet(content: bytes) -> list[Row]:
    """The rows of a file."""
    return parquet.read_table(io.BytesIO(content)).to_pylist()


def of_transport(content: bytes, variables: Any) -> list[Row]:
    """The rows of a file. `variables` are the described ones, as models or as JSON."""
    described = [each if isinstance(each, dict) else each.model_dump() for each in variables]
    try:
        table = pandas.read_sas(io.BytesIO(content), format="xport", encoding="utf-8")
    except StopIteration:  # pandas reads no table without rows
        return []
    columns = {each["name"]: (each["type"], _columns_of(each, list(table))) for each in described}
    return [
        {name: _transported(type_, [row[column] for column in read]) for name, (type_, read) in columns.items()}
        for row in table.to_dict("records")
    ]


def _columns_of(variable: Row, names: list[str]) -> list[str]:
    """The column of a variable; of a text also those in which it goes on."""
    further = re.compile(continued(variable["transport"]))
    return [variable["transport"], *(name for name in names if variable["type"] == "text" and further.fullmatch(name))]


def _transported(type_: str, cells: list[Any]) -> Any:
    if type_ == "text":
        return "".join(cell or "" for cell in cells) or None
    [cell] = cells
    if math.isnan(cell):
        return None
    cell = 0.0 if abs(cell) == 16.0**-65 else cell  # so pandas reads a zero
    return {"integer": int, "number": float, "date": lambda days: date(1960, 1, 1) + timedelta(days)}[type_](cell)


def continued(name: str) -> str:
    """What the names of the further variables of a long text look like."""
    return "|".join(rf"{name[: 8 - digits]}[1-9]\d{{{digits - 1}}}" for digits in (1, 2))


def types_of(variables: Any) -> dict[str, str]:
    """The type of each variable, from models or from JSON."""
    pairs = [(each["name"], each["type"]) if isinstance(each, dict) else (each.name, each.type) for each in variables]
    return dict(pairs)


def numbered(cohort: Cohort) -> Sources:
    """Addresses of a cohort that was never stored: the kind and the place of each row."""

    def words(kind: str) -> Any:
        column = np.empty(len(getattr(cohort, kind)), dtype=np.object_)
        column[:] = [f"{kind}/{i}" for i in range(len(column))]
        return column

    kinds = {kind: words(kind) for kind in ("labs", "assessments", "infusions", "medications", "events")}
    return Sources(**kinds, records=tuple((row.id,) for row in cohort.patients))


def made(name: str, cohort: Cohort, protocol: Any) -> list[Dataset]:
    return list(dataset(name, HEADER, cohort, protocol, numbered(cohort)))


def exported(cohort: Cohort, protocol: Any, reader: str) -> dict[str, list[Row]]:
    """Every dataset but the results, written and read again."""
    types = {each.name: types_of(each.variables) for each in describe(protocol)}
    tables = {}
    for name in ("adsl", "adeff", "adtte", "adae"):
        one = made(name, cohort, protocol)
        if reader == "csv":
            tables[name] = of_csv("".join(as_csv(one)), types[name])
        elif reader == "xpt":
            tables[name] = of_transport(as_transport(one, HEADER), one[0].description.variables)
        else:
            tables[name] = of_parquet(as_parquet(one, HEADER))
    return tables
