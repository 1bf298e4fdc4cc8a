"""The pages of two lists that need more than a table: the datasets with their files, and the audit."""

from typing import Any

from app.access.callers import Scope
from app.pages.page import Names, Page, PageReading
from app.pages.patients import cursor_of

_FILES = (("csv", "CSV"), ("parquet", "Parquet"), ("xpt", "SAS transport"))
"""The files of a dataset, by the field with their address."""
EXTENTS = {"patients": "these patients", "everyone": "all patients", "figures": "figures about patients",
           "nothing": "no data of patients"}  # fmt: skip
"""Whose data an operation was about."""
_OF_AUDIT = ("study", "patient", "since", "until")


async def _datasets(reading: PageReading, names: Names) -> dict[str, Any]:
    listed = await reading.json(f"/v1/studies/{names['study']}/datasets", reading.asked.query)
    offered = [
        {**each, "files": [(title, each[name]) for name, title in _FILES if name in each]} for each in listed["items"]
    ]
    return {"datasets": offered, "listed": listed, "can_read": Scope.READ_PATIENTS in reading.asked.caller.scopes}


async def _audit(reading: PageReading, names: Names) -> dict[str, Any]:
    query = [(name, value.strip()) for name, value in reading.asked.query if value.strip()]
    listed = await reading.json("/v1/audit", query)
    filters = [(name, value) for name, value in query if name != "cursor"]
    return {
        "rows": listed["items"],
        "following": cursor_of(listed["next"]),
        "filters": filters,
        "given": {name: dict(filters).get(name, "") for name in _OF_AUDIT},
        "extents": EXTENTS,
    }


PAGES = (
    Page("/v1/studies/{study}/datasets", "datasets.html", _datasets),
    Page("/v1/audit", "audit.html", _audit),
)
