"""The first page: the studies, three first steps, and where to read on. With one study it leads to that study."""

from typing import Any

from app.pages.page import Names, Page, Reading

MOST_STUDIES = 50


async def _first(reading: Reading, names: Names) -> dict[str, Any]:
    listed = await reading.if_allowed("/v1/studies", [("limit", str(MOST_STUDIES))])
    if listed is not None and len(listed["items"]) == 1 and reading.asked.path == "/":
        study = listed["items"][0]["id"]
        return {"redirect": f"{reading.asked.root}/v1/studies/{study}.html"}
    return {"listed": listed, "steps": await _steps(reading)}


async def _studies(reading: Reading, names: Names) -> dict[str, Any]:
    return {"listed": await reading.json("/v1/studies", reading.asked.query), "steps": await _steps(reading)}


async def _steps(reading: Reading) -> list[dict[str, str]]:
    root: dict[str, list[dict[str, str]]] = await reading.json("/")
    return root["first_steps"]


PAGES = (Page("/", "studies.html", _first), Page("/v1/studies", "studies.html", _studies))
