"""The audit of requests: each one that reads or writes data of a study has a row before its answer is sent.

A write has its row in its transaction (`store.audit`). An answer with data of patients waits until its row is written
(`store.audit_journal`), and is 503 if that is not possible: what cannot be audited is not shown. Answers with figures
are sent nevertheless, and the log says that a row is missing. A refusal does not wait for its row. A login waits for
its row as patients' data do: without it, there is no session.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Busy
from app.http.problems import refusal
from app.store.audit import Access, AuditEntry, Door, Extent, Who, acting
from app.store.audit_trail import AuditTrail

NOT_AUDITED = frozenset(
    {
        "home", "docs", "openapi_as_json", "openapi_as_yaml", "getLiveness", "getReadiness", "metrics",
        "listProblems", "getProblem", "listStudies", "getStudy", "getStudyProtocol", "listProtocols", "getProtocol",
        "getLabsTemplate", "getTableTemplate", "getWorkbookTemplate", "listRevisions", "listDatasets", "getIntake",
        "fhirCapabilities", "read_own_session",
        "planProportion", "planPairedChange", "planMedianTime", "verifyPublishedFigure", "askUnstored", "page_file",
        "sign_in", "sign_out", "getPrintedReport", "get_printed_report", "listCharts", "documentation_contents",
        "documentation_search", "documentation_page",
    }
)  # fmt: skip
"""Operations that show what is declared or counted, what the caller has sent, or the caller itself, and nothing that is
stored of a patient or of who has read it; and those that are made of other operations, which have rows of their own.
Every other operation has a row.
"""
ROWS = "myoresponse.rows"
"""Where the rows of an answer are noted."""
SESSIONS = ("begin_session", "end_session")
"""The operations that begin and end sessions. They belong to no study, and have no answer without a row."""
_READING = (*SESSIONS, "get", "list", "ask", "compare", "fhirRead", "fhirHistory", "fhirSearch")
_UNAUTHORISED = frozenset({401, 403})
_LISTING = (*SESSIONS, "list", "fhir", "post", "put", "erase", "dismiss")
"""Without a patient, these show and change nothing of anybody, but for one that shows figures."""
_MEASURED = "fhirReadMeasureReport"


class Audit:
    """Gives each request its access, and stores the row of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        access = Access(lambda: who_of(scope))
        dropped = False
        status = 0

        async def sending(message: Message) -> None:
            nonlocal dropped, status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not await _may_answer(scope, access, status):
                    dropped, status = True, 503
                    await refusal(scope, Busy("The audit of this answer cannot be stored."))(scope, receive, send)
            if not dropped:
                await send(message)

        with acting(access):
            await self.app(scope, receive, sending)
        if _is_audited(scope) and not access.written and 200 <= status < 400 and not _shows(scope, access):
            for read in _rows(scope, access, status):  # a write that changed nothing
                _trail(scope).add(read)


def who_of(scope: Scope) -> Who:
    """Who sends a request, and what it asks for."""
    state: dict[str, Any] = scope.get("state", {})
    caller = state.get("caller")
    route = scope.get("route")
    operation = str(getattr(route, "operation_id", None) or getattr(route, "name", "-"))
    path: str = getattr(route, "path", "")
    client = scope.get("client")
    return Who(
        operation,
        _door(path, operation),
        getattr(caller, "name", None),
        client[0] if client else None,
        state.get("scope"),
        state.get("request_id"),
    )


def _door(path: str, operation: str) -> Door:
    if path.startswith("/fhir/"):
        return "fhir"
    return "hl7v2" if operation == "postHl7v2" else "http"


async def _may_answer(scope: Scope, access: Access, status: int) -> bool:
    """Store the row of an answer, if it has one. Whether the answer may be sent."""
    if not _is_audited(scope) and status not in _UNAUTHORISED:
        return True
    if status >= 400 and access.again is None:
        for read in _rows(scope, access, status):
            _trail(scope).refused(read)
        return True
    if not _shows(scope, access):
        return True
    rows = scope[ROWS] = _rows(scope, access, status)
    return await stored(_trail(scope), rows)


async def stored(trail: AuditTrail, rows: Sequence[AuditEntry]) -> bool:
    """Store the rows of an answer. Whether it may be sent: without them, figures may."""
    waiting = [(row, trail.add(row)) for row in rows]
    for row, done in waiting:
        try:
            await asyncio.wrap_future(done)
        except Exception:  # the log has the cause
            if row.extent != "figures":
                return False
    return True


def _is_audited(scope: Scope) -> bool:
    return who_of(scope).operation not in NOT_AUDITED and scope.get("route") is not None


def _reads(scope: Scope) -> bool:
    """Whether the operation reads and stores nothing, by its name."""
    return who_of(scope).operation.startswith(_READING)


def _shows(scope: Scope, access: Access) -> bool:
    """Whether the answer shows what was stored before: to a read, to a write that changed nothing of a patient, or to
    a write that was answered before.
    """
    return any(access.patients.values()) or access.again is not None or (_reads(scope) and not access.written)


def _rows(scope: Scope, access: Access, status: int) -> list[AuditEntry]:
    """The row of an answer in the chain of its study; a comparison of two studies has one in each."""
    who, at = who_of(scope), time.time_ns() // 1000
    names = scope.get("path_params", {})
    known = [names[name] for name in ("study", "other") if name in names]
    again = access.again or b""
    rows = []
    for study in known or list(access.patients) or [None]:
        patients = tuple(access.patients.get(study, ())) if status < 400 and study is not None else ()
        nobody = who.operation.startswith(_LISTING) and who.operation != _MEASURED
        extent: Extent = "patients" if patients or again else "nothing" if nobody else "figures"
        if status >= 400 and not again:
            extent = "nothing"
        elif access.everyone:
            extent = "everyone"
        revision = access.revisions.get(study or "") if status < 400 else None
        rows.append(AuditEntry(who, at, study, status, extent, patients, revision, numbers=again))
    return rows


def _trail(scope: Scope) -> AuditTrail:
    trail: AuditTrail = scope["state"]["app_state"].trail
    return trail
