"""Trying another protocol on the data of a study: both figures side by side. Nothing is stored until it is saved."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Form, Request, Response

from app.http.dependencies import StudyId
from app.http.representations import ServedDocument
from app.http.routing import Operations
from app.pages.page import together
from app.pages.protocols import as_text, differences, with_controls
from app.pages.routes import Text, asked_of, see_other, token_header
from app.pages.site import answered, fault_page
from app.pages.wording import figure, interval_text, percent
from app.protocol.model import Protocol
from app.protocol.presets import PRESETS

router = Operations(include_in_schema=False)
QUESTIONS = ("response-rates", "ck-normal-time", "ck-change", "adverse-reactions")
"""The questions whose headline figures are compared."""
_JSON = [(b"content-type", b"application/json")]
LongText = Annotated[str, Form(max_length=300_000)]


@router.post("/pages/studies/{study}/protocol/try")
async def try_protocol(request: Request, study: StudyId, token: Text = "", protocol: LongText = "") -> Response:
    """Show the headline figures by the stored protocol and by another one: by the values of the form, by the name of a
    preset, or by the definitions as JSON.
    """
    asked, names, base = asked_of(request), {"study": study}, f"/v1/studies/{study}"
    stored = await asked.get(f"{base}/protocol")
    if stored.status >= 400:
        return await fault_page(asked, stored, names)
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    tried = _tried(stored.json(), protocol, form)
    body = b'{"protocol": ' + json.dumps(tried).encode() + b"}" if tried is not None else protocol.encode()
    headers = [*_JSON, *token_header(token)]
    found = await together(
        *(asked.get(f"{base}/analyses/{name}") for name in QUESTIONS),
        *(asked.send("POST", f"{base}/analyses/{name}", (), body, headers) for name in QUESTIONS),
    )
    refused = next((document for document in found if document.status >= 400), None)
    if refused is not None:
        return await fault_page(asked, refused, names)
    declared = PRESETS[tried] if isinstance(tried, str) else Protocol.model_validate_json(json.dumps(tried))
    shown = _shown(stored, declared.model_dump(mode="json"), found)
    return await answered(asked, "try_protocol.html", names, shown)


def _tried(stored: dict[str, Any], written: str, form: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    """The protocol to try: the name of a preset, or definitions; `None` if what was written cannot be read."""
    if "preset" in form:
        return form["preset"]
    if written:
        try:
            return json.loads(written)
        except (ValueError, RecursionError):
            return None
    changed = with_controls(stored, form)
    if changed != stored and changed["id"] in PRESETS:
        changed["id"] = f"{changed['id'][:55]}-changed"
    return changed


def _shown(stored: ServedDocument, tried: dict[str, Any], found: list[ServedDocument]) -> dict[str, Any]:
    answers = [document.json() for document in found]
    half = len(QUESTIONS)
    before, after = (figures_of(dict(zip(QUESTIONS, part, strict=True))) for part in (answers[:half], answers[half:]))
    rows = [(name, before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))]
    return {
        "stored": stored.json(),
        "tried": tried,
        "differs": differences(stored.json(), tried),
        "same": stored.json() == tried,
        "rows": rows,
        "text": as_text(tried),
        "tag": stored.tag or "",
        "revision": answers[0]["revision"],
        "after_outcomes": answers[0]["provenance"]["protocol_changed_after_first_outcome"],
    }


def figures_of(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The headline figures of the answers, by what they are called."""
    found = {}
    for row in answers["response-rates"]["results"]:
        if row["primary"]:
            found[f"Response by {row['measure']}"] = _share(row["responders"], row["evaluable"], row["rate"], row)
    median = answers["ck-normal-time"]["results"][0]["median"]
    value = "not reached" if median["value"] is None else f"{figure(median['value'], 4)} days"
    found["Median time with normal CK"] = _with(value, interval_text(_first(median)))
    change = answers["ck-change"]["results"][0]["difference"]
    ratio = None if change is None else change["ratio_of_ratios"]
    found["Change of CK after treatment relative to that before it (ratio)"] = figure(ratio)
    for row in answers["adverse-reactions"]["results"]:
        found["Adverse reactions"] = _share(row["patients_with_reaction"], row["safety"], row["rate"], row)
    return found


def _share(of: int, among: int, rate: float | None, row: Mapping[str, Any]) -> str:
    if rate is None:
        return f"{of} of {among}"
    return _with(f"{of} of {among}, {percent(rate)}", interval_text(_first(row), as_percent=True))


def _first(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next(iter(row.get("intervals") or ()), None)


def _with(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


@router.post("/pages/studies/{study}/protocol")
async def save_protocol(
    request: Request,
    study: StudyId,
    protocol: LongText,
    name: Annotated[str, Form(max_length=64)] = "",
    tag: Text = "",
    token: Text = "",
) -> Response:
    """Declare the protocol that was tried, unless somebody declared another one since."""
    asked, address = asked_of(request), f"/v1/studies/{study}/protocol"
    headers = [*_JSON, *token_header(token), *([(b"if-match", tag.encode("ascii", "ignore"))] if tag else [])]
    saved = await asked.send("PUT", address, (), _named(protocol, name), headers)
    if saved.status >= 400:
        return await fault_page(asked, saved, {"study": study})
    return see_other(request, f"{asked.root}{address}.html")


def _named(protocol: str, name: str) -> bytes:
    """The definitions with the name of the form."""
    try:
        document = json.loads(protocol)
    except (ValueError, RecursionError):
        return protocol.encode()
    if name and isinstance(document, dict):
        document["id"] = name.strip()
    return json.dumps(document).encode()
