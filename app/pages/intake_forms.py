"""The forms of the intake: a file that is rehearsed or loaded, a dismissal, a decision, a declaration; and a new study.

A file is read in memory, up to the limit of every body, so that no data of a patient are left in a temporary file.
"""

import hashlib
import json
from dataclasses import fields as fields_of
from typing import Annotated, Any, get_args
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import Form, Path, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import InvalidDocument, PreconditionFailed, UnsupportedMediaType
from app.http.dependencies import IDENTIFIER, PatientId, StudyId
from app.http.openapi import JSON
from app.http.representations import Asked, ServedDocument
from app.http.routing import Operations
from app.pages.given_files import GivenFile, looked_at, sendings
from app.pages.intake import DISMISSALS, form_of, in_words, waiting_of
from app.pages.load_outcome import LoadOutcome
from app.pages.routes import Text, asked_of, see_other, token_header
from app.pages.site import answered, fault_page
from app.readers.recognition import FORMATS
from app.readers.table_dates import DATE_FORMS, ISO
from app.readers.table_kinds import KINDS_OF_TABLES
from app.readers.table_rows import DecimalMark
from app.store.studies import FeedDefinition
from app.timeline.same_facts import NAME_PATTERN

router = Operations(include_in_schema=False)
MOST_FIELDS = 20
DECLARED = ("name", "time_zone", "test", *(field.name for field in fields_of(FeedDefinition)))
"""What a study declares besides its protocol, which stays if it is left out."""
DECLARATIONS = frozenset({"local_codes", "unit_aliases", "charsets", "authorities", "result_time", "time_zone"})
"""What a proposal can be about."""


_DECIDED = {
    "same": ("The two facts are the same", "One of them counts in the figures, while their times agree."),
    "different": ("The two facts are different", "Both count in the figures."),
    "undecided": ("The decision was taken back", "Both count in the figures, and wait on the worklist again."),
}
"""What a decision is called when it is made, and what it does."""


class _InMemory(MultiPartParser):
    """Reads a form without a temporary file."""

    spool_max_size = 2**62


async def _form_of(request: Request) -> tuple[dict[str, str], str, bytes]:
    """The fields of a form with a file, the name of the file, and its content."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMediaType("Send the form as multipart/form-data.")
    try:
        parsed = await _InMemory(
            request.headers, request.stream(), max_files=1, max_fields=MOST_FIELDS, max_part_size=4_096
        ).parse()
    except MultiPartException:
        raise InvalidDocument("The form cannot be read. Open the page again and choose the file again.") from None
    fields = {name: value for name, value in parsed.multi_items() if isinstance(value, str)}
    file = next((value for _, value in parsed.multi_items() if isinstance(value, UploadFile)), None)
    if file is None:
        return fields, "", b""
    try:
        return fields, file.filename or "", await file.read()
    finally:
        await file.close()


@router.post("/pages/studies/{study}/add")
async def add(request: Request, study: StudyId) -> Response:
    """Rehearse or load a file. `do` is `recognise`, `rehearse` or `load`."""
    asked = asked_of(request)
    found = await asked.get(f"/v1/studies/{study}")
    if found.status >= 400:
        return await fault_page(asked, found, {"study": study})
    fields, name, body = await _form_of(request)
    file = looked_at(_given(fields, name, body))
    digest = hashlib.sha256(body).hexdigest()
    do = fields.get("do", "rehearse")
    another = do == "load" and fields.get("rehearsed", digest) not in {"", digest}
    rehearse = do != "load" or another
    outcome = None
    if file.objection is None and do != "recognise":
        outcome = await _sent(asked, study, file, rehearse=rehearse, token=fields.get("token", ""))
    before = found.json()
    after = before if rehearse or outcome is None else (await asked.get(f"/v1/studies/{study}")).json()
    listed = None if rehearse or outcome is None else await asked.get(f"/v1/studies/{study}/set-aside")
    shown = form_of(asked, before) | {
        "path": f"/v1/studies/{study}/intake",
        "given": file,
        "outcome": outcome,
        "rehearsal": rehearse,
        "another": another,
        "rehearsed": digest if rehearse and outcome is not None else "",
        "revision_before": before["revision"],
        "revision_after": after["revision"],
        "proposals": in_words([] if outcome is None else outcome.proposals),
        **waiting_of(listed.json() if listed is not None and listed.status == 200 else None),
    }
    return await answered(asked, "add_data.html", {"study": study}, shown, 422 if file.objection else 200)


def _given(fields: dict[str, str], name: str, body: bytes) -> GivenFile:
    chosen = next((format for format in FORMATS if format == fields.get("format")), None)
    delimiter = fields.get("delimiter", "")
    decimal = fields.get("decimal", ".")
    return GivenFile(
        name=name[:200],
        body=body,
        format=chosen,
        delimiter=delimiter if delimiter in {",", ";", "tab"} else "",
        decimal=decimal if decimal in get_args(DecimalMark) else ".",
        missing=fields.get("missing", "")[:200],
        dates=next((form for form in DATE_FORMS if form == fields.get("dates")), ISO),
        table=next((kind for kind in KINDS_OF_TABLES if kind == fields.get("table")), None),
    )


async def _sent(asked: Asked, study: str, file: GivenFile, *, rehearse: bool, token: str) -> LoadOutcome:
    """What happened to a file."""
    outcome = LoadOutcome(table=file.format in {"csv", "xlsx"})
    for sending in await run_sync(lambda: list(sendings(study, file, rehearse=rehearse))):
        headers = [(b"content-type", sending.media_type.encode()), *token_header(token)]
        answer = await asked.send("POST", sending.path, sending.query, sending.body, headers)
        await run_sync(outcome.add, sending, answer)
    return outcome


@router.post("/pages/studies/{study}/set-aside/{item}")
async def dismiss(
    request: Request,
    study: StudyId,
    item: Annotated[int, Path(ge=1, le=2**53 - 1)],
    reason: Text,
    comment: Text = "",
    token: Text = "",
) -> Response:
    """Take an item off the worklist, and show what was done."""
    asked = asked_of(request)
    content = {"reason": reason} | ({"comment": comment.strip()} if comment.strip() else {})
    address = f"/v1/studies/{study}/set-aside/{item}/dismissal"
    answer = await _change(asked, "POST", address, content, token)
    if answer.status >= 400:
        return await fault_page(asked, answer, {"study": study})
    outcome = answer.json()
    shown = {
        "item": item,
        "done": outcome["status"] == "dismissed",
        "revision": outcome["revision"],
        "why": [
            *([DISMISSALS[reason]] if reason != "other" else []),
            *([content["comment"]] if comment.strip() else []),
        ],
    }
    return await answered(asked, "dismissed.html", {"study": study}, shown)


@router.post("/pages/studies/{study}/patients/{patient}/decisions/{pair}")
async def decide(
    request: Request,
    study: StudyId,
    patient: PatientId,
    pair: Annotated[str, Path(pattern=NAME_PATTERN)],
    decision: Text,
    reason: Text = "",
    token: Text = "",
) -> Response:
    """Decide whether two facts are the same, or take a decision back, and show what was done."""
    asked = asked_of(request)
    address = f"/v1/studies/{study}/patients/{quote(patient)}/decisions/{pair}"
    content = {"decision": decision, "reason": reason.strip()}
    answer = await _change(asked, "POST", address, content, token)
    if answer.status >= 400:
        return await fault_page(asked, answer, {"study": study, "patient": patient})
    outcome = answer.json()
    title, effect = _DECIDED[decision]
    shown = {
        "patient": patient, "title": title, "effect": effect, "reason": reason.strip(),
        "done": outcome["status"] != "unchanged", "revision": outcome["revision"],
    }  # fmt: skip
    return await answered(asked, "decided.html", {"study": study}, shown)


@router.post("/pages/studies/{study}/declaration")
async def declare(
    request: Request, study: StudyId, declaration: Text, value: Text, token: Text = "", to: Text = "/"
) -> Response:
    """Declare what was proposed, after a person has said that it is true."""
    asked = asked_of(request)
    found = await asked.get(f"/v1/studies/{study}")
    if found.status >= 400:
        return await fault_page(asked, found, {"study": study})
    if declaration not in DECLARATIONS:
        raise InvalidDocument("This is nothing that a study declares.")
    declared = found.json()
    definition = {name: declared[name] for name in DECLARED}
    definition[declaration] = _joined(definition[declaration], _value_of(declaration, value))
    answer = await _change(asked, "PUT", f"/v1/studies/{study}", definition, token, found.tag)
    if answer.status >= 400:
        return await fault_page(asked, answer, {"study": study})
    return see_other(request, to)


def _value_of(declaration: str, value: str) -> Any:  # noqa: ANN401 - any JSON
    if declaration in {"time_zone", "result_time"}:
        return value.strip()
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidDocument("The declaration cannot be read. Open the page again.") from None


def _joined(before: Any, more: Any) -> Any:  # noqa: ANN401 - any JSON
    """What stands already, and what is added."""
    if isinstance(before, dict) and isinstance(more, dict):
        return before | more
    if isinstance(before, list) and isinstance(more, list):
        return [*before, *(each for each in more if each not in before)]
    return more


@router.post("/pages/studies")
async def create_study(
    request: Request,
    id: Annotated[str, Form(max_length=64, pattern=IDENTIFIER)],
    name: Text,
    protocol: Text,
    identifiers: Text = "medical_record",
    time_zone: Text = "",
    test: Text = "",
    token: Text = "",
) -> Response:
    """Create a study, and go on to the page that takes its first file. A study that exists is not changed."""
    asked = asked_of(request)
    content: dict[str, Any] = {"name": name.strip(), "protocol": protocol, "identifiers": identifiers}
    content |= {"time_zone": time_zone.strip()} if time_zone.strip() else {}
    content |= {"test": True} if test else {}
    answer = await _change(asked, "PUT", f"/v1/studies/{id}", content, token, only_new=True)
    if answer.status == PreconditionFailed.status:
        raise PreconditionFailed(
            "There is a study with this identifier already. Choose another one; nothing was changed."
        )
    if answer.status >= 400:
        return await fault_page(asked, answer, {})
    return see_other(request, f"{asked.root}/v1/studies/{id}/intake.html")


async def _change(
    asked: Asked,
    method: str,
    path: str,
    content: dict[str, Any],
    token: str,
    if_match: str | None = None,
    *,
    only_new: bool = False,
) -> ServedDocument:
    conditions = [] if if_match is None else [(b"if-match", if_match.encode())]
    conditions += [(b"if-none-match", b"*")] if only_new else []
    headers = [(b"content-type", JSON.encode()), *conditions, *token_header(token)]
    return await asked.send(method, path, (), json.dumps(content).encode(), headers)
