"""The overview of a study: the headline figures as sentences with their claims, the charts, what speaks against them,
which data they are of, and what is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.access.callers import Scope
from app.pages.headlines import headlines
from app.pages.page import Names, Page, PageReading, Refused
from app.pages.pictures import OF_OVERVIEW, pictures

_MOST_SET_ASIDE = 100
FORBIDDEN = 403


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    study = names["study"]
    declared = await reading.json(f"/v1/studies/{study}")
    found = await reading.document(f"/v1/studies/{study}/analyses", reading.pinned)
    if found.status >= 400 and found.status != FORBIDDEN:
        raise Refused(found)  # an unknown revision is no question of what the reader may see
    report = None if found.status == FORBIDDEN else found.json()
    shown = {"declared": declared, "report": report, "pictures": [], "set_aside": None, "headlines": []}
    if report is None or not report["populations"]["all"]:
        return shown
    if report["populations"]["safety"]:
        shown["headlines"] = headlines(report["analyses"])
        shown["pictures"] = await pictures(reading, study, OF_OVERVIEW, report["revision"])
    shown["set_aside"] = await _set_aside(reading, study, report["revision"])
    return shown | {"caveats": caveats(report["analyses"]), "missing": missing(report["analyses"])}


async def _set_aside(reading: PageReading, study: str, revision: int) -> tuple[int, bool] | None:
    """How many facts are set aside at a revision, and whether there are more; `None` for who may not read patients."""
    if Scope.READ_PATIENTS not in reading.asked.caller.scopes:
        return None
    query = [("revision", str(revision)), ("limit", str(_MOST_SET_ASIDE))]
    found = await reading.asked.get(f"/v1/studies/{study}/set-aside", query)
    if found.status >= 400:
        return None
    listed = found.json()
    return len(listed["items"]), listed["next"] is not None


def caveats(answers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The caveats of all answers that apply, each once."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for answer in answers.values():
        for caveat in answer["caveats"]:
            if caveat["applies"] and caveat["code"] != "missing_data":
                found.setdefault((caveat["code"], caveat.get("measure")), caveat)
    return list(found.values())


def missing(answers: Mapping[str, Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """The caveats that count the planned values that are missing, one for each measure."""
    found: dict[str | None, dict[str, Any]] = {}
    for answer in answers.values():
        for caveat in answer["caveats"]:
            if caveat["code"] == "missing_data" and caveat["applies"]:
                found.setdefault(caveat.get("measure"), caveat)
    return list(found.values())


PAGES = (Page("/v1/studies/{study}", "overview.html", _fill),)
