"""Taking back a row that was loaded by mistake: first a rehearsal, then a confirmation, then the receipt.

A fact is taken back by the same fact with the status `entered-in-error`. So it stays in the history, and a late retry
of the sender does not bring it back. An attribute of the patient has no such status: it is no row of the page.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Form, Request, Response

from app.http.dependencies import PatientId, StudyId
from app.http.representations import Asked, ServedDocument
from app.http.routing import Operations
from app.pages.facts import FactLine, Version, key_of, lines_of, note_in_words
from app.pages.page import PageReading, Refused
from app.pages.patients import versions_of
from app.pages.routes import Text, asked_of, token_header
from app.pages.site import answered, fault_page
from app.pages.wording import words
from app.timeline.document import ITEMS

router = Operations(include_in_schema=False)
SECTIONS = {
    "lab_result": "labs", "assessment": "assessments", "infusion": "infusions", "medication": "medications",
    "adverse_event": "adverse_events",
}  # fmt: skip
"""The section of a timeline for each kind of fact."""
JSON_BODY = [(b"content-type", b"application/json")]


@router.post("/pages/studies/{study}/patients/{patient}/take-back")
async def take_back(
    request: Request,
    study: StudyId,
    patient: PatientId,
    fact: Annotated[str, Form(max_length=64)],
    token: Text = "",
    confirmed: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Show what taking a row back would do; with `confirmed`, do it and show the receipt."""
    asked, names = asked_of(request), {"study": study, "patient": patient}
    address = f"/v1/studies/{study}/patients/{quote(patient)}"
    try:
        versions = await versions_of(PageReading(asked), f"{address}/history")
    except Refused as refused:
        return await fault_page(asked, refused.document, names)
    rows = (each for each in versions if each["standing"] and each["kind"] in SECTIONS)
    version = next((each for each in rows if key_of(each) == fact), None)
    if version is None:
        return await answered(asked, "take_back.html", names, {"patient": patient, "line": None}, 409)
    done = confirmed == "yes"
    outcome = await _sent(asked, address, version, token, rehearse=not done)
    if outcome.status >= 400:
        return await fault_page(asked, outcome, names)
    [line] = lines_of([version], None, None)
    return await answered(asked, "take_back.html", names, _shown(patient, line, outcome.json(), done))


async def _sent(asked: Asked, address: str, version: Version, token: str, *, rehearse: bool) -> ServedDocument:
    query = [("receipt", "full"), *([("rehearse", "true")] if rehearse else [])]
    patient = address.rpartition("/")[2]
    headers = [*JSON_BODY, *token_header(token)]
    kind = version["kind"]
    body = {"patient": {"id": patient}, SECTIONS[kind]: [withdrawal(kind, version["fact"])]}
    return await asked.send("POST", f"{address}/events", query, json.dumps(body).encode(), headers)


def withdrawal(kind: str, fact: Mapping[str, Any]) -> dict[str, Any]:
    """The statement that a fact was entered in error."""
    known = ITEMS[SECTIONS[kind]].model_fields
    return {**{name: value for name, value in fact.items() if name in known}, "status": "entered-in-error"}


def _shown(patient: str, line: FactLine, outcome: Mapping[str, Any], done: bool) -> dict[str, Any]:
    """What the receipt says about the row."""
    receipt = outcome["receipt"]
    rows = [each for each in receipt["lines"] if each["place"] != "/patient"]
    affected = [effect for each in rows for effect in each.get("affects", ())]
    return {
        "patient": patient,
        "line": line,
        "done": done,
        "status": outcome["status"],
        "revision": outcome["revision"],
        "stands_no_more": outcome["counts"]["withdrawn"],
        "stands_again": [effect for effect in affected if effect["stands"]],
        "not_kept": [
            words(each.get("reason") or each["disposition"]) for each in rows if each["disposition"] != "kept"
        ],
        "notes": [note_in_words(note) for each in rows for note in each.get("notes", ())],
    }
