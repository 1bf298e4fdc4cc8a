"""The pages of the patients: the list with its search, one patient, and every version of every fact of one patient."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from app.access.callers import Scope
from app.derive.reasons import ExclusionReason
from app.pages.definitions import rule_in_words
from app.pages.facts import WHY, FactLine, attribute_in_words, lines_of, timeline_of, treatment_began
from app.pages.page import PINNED, Names, Page, PageReading, Refused, safe_svg, together
from app.pages.wording import count, figure, words

MOST_ON_A_PAGE = "100"
MOST_VERSIONS = 5_000
"""Versions that the page of a patient reads; its history has the others."""
_A_READ = "500"
_FILTERS = ("q", "diagnosis", "sex")
_OF_HISTORY = ("kind", "code", "id")
DIAGNOSES = (
    "polymyositis", "dermatomyositis", "juvenile_dermatomyositis", "immune_mediated_necrotizing_myopathy",
    "antisynthetase_syndrome", "inclusion_body_myositis", "overlap_myositis", "other",
)  # fmt: skip
SEXES = ("female", "male", "other", "unknown")


async def _list(reading: PageReading, names: Names) -> dict[str, Any]:
    given = {name: value.strip() for name, value in reading.asked.query if value.strip()}
    known = await reading.json(f"/v1/studies/{names['study']}")
    query = [(name, value) for name, value in given.items() if name in {*_FILTERS, "limit"}]
    place = [("cursor", given["cursor"])] if "cursor" in given else reading.pinned
    other = [(name, value) for name, value in given.items() if name not in {*_FILTERS, *PINNED, "limit", "cursor"}]
    sized = query if "limit" in given else [*query, ("limit", MOST_ON_A_PAGE)]
    found = await reading.document(f"/v1/studies/{names['study']}/patients", [*sized, *place, *other])
    faults = {each["pointer"] for each in found.json().get("errors", ())} if found.status == 422 else set()
    if found.status >= 400 and faults != {"/query/q"}:
        raise Refused(found)
    listed = {"items": [], "next": None} if faults else found.json()
    return {
        "people": [_summary(item) for item in listed["items"]],
        "following": cursor_of(listed["next"]),
        "filters": query,
        "given": {name: given.get(name, "") for name in _FILTERS},
        "searched": any(name in given for name in _FILTERS),
        "later": "cursor" in given,
        "unreadable": bool(faults),
        "everybody": known["patients"] if not reading.pinned else None,
        "diagnoses": DIAGNOSES,
        "sexes": SEXES,
    }


def _summary(item: Mapping[str, Any]) -> dict[str, Any]:
    patient = item["patient"]
    return {
        "id": patient["id"],
        "diagnosis": words(patient["diagnosis"]) if "diagnosis" in patient else "",
        "sex": words(patient["sex"]) if "sex" in patient else "",
        "birth_year": str(patient.get("birth_year", "")),
        "merged_into": patient.get("merged_into"),
        "counts": item["counts"],
        "ended": item.get("ended"),
    }


def cursor_of(address: str | None) -> str | None:
    """The cursor in the address of the next page."""
    return None if address is None else dict(parse_qsl(urlsplit(address).query))["cursor"]


async def _patient(reading: PageReading, names: Names) -> dict[str, Any]:
    study, patient = names["study"], names["patient"]
    base, pinned = f"/v1/studies/{study}", reading.pinned
    timeline = await reading.json(f"{base}/patients/{patient}", pinned)
    protocol, known, verdicts, versions = await together(
        reading.if_allowed(f"{base}/protocol", pinned),
        reading.if_allowed(base),
        reading.json(f"{base}/patients/{patient}/verdicts", pinned),
        versions_of(reading, f"{base}/patients/{patient}/history"),
    )
    zone = None if known is None else known["time_zone"]
    products = () if protocol is None else protocol["treatment"]["products"]
    began = treatment_began(versions, products, zone)
    lines = timeline_of(versions, began, zone)
    charts = [
        drawn
        for width in ("wide", "narrow")
        if (
            drawn := await _chart(reading, f"{base}/charts/ck-trajectories.svg", [*pinned, ("patient", patient)], width)
        )
    ]
    return {
        "patient": patient,
        "about": _about(timeline),
        "merged_into": timeline["patient"].get("merged_into"),
        "ended": timeline.get("ended"),
        "began": None if began is None else began.isoformat(),
        "lines": lines,
        "gone": _gone(versions, lines),
        "all_read": len(versions) < MOST_VERSIONS,
        "responses": [_response(each) for each in verdicts["responses"]],
        "normal": _normal_time(verdicts["ck_normal_time"]),
        "charts": charts,
        "why": WHY,
        "can_change": Scope.INGEST in reading.asked.caller.scopes and not pinned,
    }


async def _chart(reading: PageReading, path: str, query: list[tuple[str, str]], width: str) -> tuple[str, Any] | None:
    drawn = await reading.text(path, [*query, ("width", width)])
    return None if drawn is None else (width, safe_svg(drawn))


async def versions_of(reading: PageReading, path: str) -> list[dict[str, Any]]:
    """The versions of the facts of a patient, all of one revision."""
    found: list[dict[str, Any]] = []
    query = [*reading.pinned, ("limit", _A_READ)]
    while len(found) < MOST_VERSIONS:
        page = await reading.json(path, query)
        found += page["items"]
        if page["next"] is None:
            break
        query = [("limit", _A_READ), ("cursor", cursor_of(page["next"]) or "")]
    return found


def _about(timeline: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The attributes of a patient, with what they are called."""
    known = {name: value for name, value in timeline["patient"].items() if name not in {"id", "merged_into"}}
    more = known.pop("attributes", None) or {}
    return [(words(name).replace("Weight kg", "Weight (kg)"), attribute_in_words(value)) for name, value in
            [*known.items(), *more.items()]]  # fmt: skip


def _gone(versions: list[dict[str, Any]], lines: list[FactLine]) -> list[FactLine]:
    """What was taken back or left out, and of which no version stands."""
    shown = {other.key for line in lines for other in line.others}
    gone = [line for line in lines_of([each for each in versions if not each["standing"]], None, None)
            if line.key not in shown and line.version["reason"] != "withdrawal"]  # fmt: skip
    return [line for line in gone if line.kind != "attribute"]


def _response(found: Mapping[str, Any]) -> dict[str, Any]:
    """What one response definition says about the patient."""
    definition, verdict = found["definition"], found["verdict"]
    return {
        "rule": rule_in_words(found["measure"], definition["id"], definition["parameters"]),
        "primary": found["primary"],
        "responder": verdict["responder"],
        "reason": None if verdict["reason"] is None else reason_in_words(verdict["reason"]),
        "baseline": verdict["baseline"],
        "value": verdict["value"],
        "day": verdict["day"],
    }


def reason_in_words(code: str) -> str:
    """The sentence of a reason for leaving a patient out."""
    known = {str(each): each.description for each in ExclusionReason}
    return known.get(code, words(code) + ".")


def _normal_time(row: Mapping[str, Any] | None) -> list[str]:
    """How long the CK of one patient was normal, in sentences."""
    if row is None:
        return []
    said = []
    if row["start"] is None:
        said.append(reason_in_words(row["reason"]) if row["reason"] else "CK was not seen normal.")
    else:
        for_how_long = count(row["duration"], "day")
        begin = f"CK was first normal on day {figure(row['start'])}"
        if row["event"]:
            by = {"abnormal": "until a CK above its limit"}.get(
                row["ended_by"], f"until {words(row['ended_by'] or '').lower()}"
            )
            said.append(f"{begin} and stayed normal for {for_how_long}, {by}.")
        else:
            said.append(f"{begin} and stayed normal for at least {for_how_long}, to the end of the observation.")
    if row.get("days_followed"):
        said.append(
            f"Of {count(row['days_followed'], 'day')} of observation, CK was normal on {figure(row['days_normal'])}, "
            "if each result holds until the next one."
        )
    return said


async def _history(reading: PageReading, names: Names) -> dict[str, Any]:
    study, patient = names["study"], names["patient"]
    base = f"/v1/studies/{study}"
    given = {name: value.strip() for name, value in reading.asked.query if value.strip()}
    query = [(name, value) for name, value in given.items() if name not in {*PINNED, "cursor"}]
    place = [("cursor", given["cursor"])] if "cursor" in given else reading.pinned
    page = await reading.json(f"{base}/patients/{patient}/history", [*query, *place])
    return {
        "patient": patient,
        "lines": lines_of(page["items"], None, None),
        "following": cursor_of(page["next"]),
        "filters": query,
        "given": {name: given.get(name, "") for name in _OF_HISTORY},
        "later": "cursor" in given,
        "kinds": ("lab_result", "assessment", "infusion", "medication", "adverse_event", "attribute"),
        "why": WHY,
    }


PAGES = (
    Page("/v1/studies/{study}/patients", "patients.html", _list),
    Page("/v1/studies/{study}/patients/{patient}", "patient.html", _patient),
    Page("/v1/studies/{study}/patients/{patient}/history", "history.html", _history),
)
