"""The first page: the studies, three first steps, and where to read on. With one study it leads to that study."""

from typing import Any

from app.access.callers import Scope
from app.pages.page import Names, Page, PageReading
from app.protocol.presets import MYOSITIS_2026

MOST_STUDIES = 50


async def _first(reading: PageReading, names: Names) -> dict[str, Any]:
    listed = await reading.if_allowed("/v1/studies", [("limit", str(MOST_STUDIES))])
    if listed is not None and len(listed["items"]) == 1 and reading.asked.path == "/":
        study = listed["items"][0]["id"]
        return {"redirect": f"{reading.asked.root}/v1/studies/{study}.html"}
    return {"listed": listed} | await _around(reading)


async def _studies(reading: PageReading, names: Names) -> dict[str, Any]:
    return {"listed": await reading.json("/v1/studies", reading.asked.query)} | await _around(reading)


async def _around(reading: PageReading) -> dict[str, Any]:
    """The first steps, and what the form of a new study offers to those who may create one."""
    root = await reading.json("/")
    offers = {Scope.ADMIN, Scope.READ} <= reading.asked.caller.scopes
    presets = await reading.json("/v1/protocols") if offers else {"items": []}
    first = sorted(presets["items"], key=lambda preset: preset["id"] != MYOSITIS_2026.id)
    return {"steps": root["first_steps"], "presets": first}


PAGES = (Page("/", "studies.html", _first), Page("/v1/studies", "studies.html", _studies))
