"""The route of the report: HTML, PDF or Markdown, by suffix or by Accept."""

import hashlib
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Query, Request, Response
from pydantic import ConfigDict

from app.analyses import NullOptions
from app.errors import Erased, NotAcceptable, NotFound, NotInstalled, TakesTooLong
from app.http.answers import Asking
from app.http.dependencies import At, IfNoneMatch, StudyId
from app.http.openapi import NOT_MODIFIED, answers, refuses
from app.http.representations import ServedDocument
from app.http.responses import etag_from, matches, preferred, tagged
from app.http.routing import Operations
from app.pages.page import PageReading, Refused
from app.pages.printing import PDF, check_installed, printed
from app.pages.report import PrintedReport, read_report
from app.pages.site import HTML, environment, made_by

router = Operations(tags=["analyses"])
MARKDOWN = "text/markdown"


class ReportParameters(NullOptions):
    """The options of the report as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


_TEXT: dict[str, Any] = {"type": "string"}
_READ = answers("The report.", _TEXT, "ETag", media_type=MARKDOWN)
_READ["content"] |= {PDF: {"schema": {"type": "string", "format": "binary"}}, HTML: {"schema": _TEXT}}


@router.get(
    "/v1/studies/{study}/report",
    operation_id="getPrintedReport",
    summary="Print the report",
    responses={200: _READ, 304: NOT_MODIFIED, **refuses(NotFound, Erased, NotAcceptable, NotInstalled, TakesTooLong)},
)
@router.get("/v1/studies/{study}/report.pdf", include_in_schema=False)
@router.get("/v1/studies/{study}/report.md", include_in_schema=False)
async def get_printed_report(
    request: Request,
    study: StudyId,
    asker: Asking,
    at: At,
    options: Annotated[ReportParameters, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The report of a study for people, as Accept or the suffix `.html`, `.pdf` or `.md` says; Markdown without
    either. Patients and their flow, the definitions in words, Table 1 and Table 2, charts, claims with their guards,
    limits, methods, and how to cite it. The same revision, protocol, options, host and version of the software give
    the same bytes.
    """
    del at, options  # they are passed on with the query, and checked here
    media_type = _asked_for(request)
    reading = PageReading(request.state.asked)
    try:
        report = await asker.while_here(read_report(reading, study))
    except Refused as refused:
        return passed_on(refused.document)
    tag = etag_from(
        "printed-report", made_by(), media_type, report.address, *sorted(str(tag) for _, _, tag in reading.parts)
    )
    if matches(if_none_match, tag):
        return tagged(b"", tag, if_none_match)
    if media_type == MARKDOWN:
        return tagged(await run_sync(written_as, "report.md", report), tag, None, MARKDOWN)
    kept = asker.state.answers.get(tag)
    if kept is None:
        erasures = asker.state.answers.erasures(study)
        page = await run_sync(written_as, "report_print.html", report)
        identifier = hashlib.sha256(page).hexdigest()[:32]
        work = partial(printed, page.decode(), report.data, report.as_of, identifier)
        kept = await asker.computed(tag, work, study)
        asker.state.answers.keep(study, tag, kept, erasures)
    answer = tagged(kept, tag, None, PDF)
    answer.headers["Content-Disposition"] = f'inline; filename="{study}-report-revision-{report.revision}.pdf"'
    return answer


def _asked_for(request: Request) -> str:
    """The media type that a request names."""
    suffix = request.url.path.rpartition(".")[2]
    media_type = {"pdf": PDF, "md": MARKDOWN}.get(suffix) or preferred(
        request.headers.getlist("accept"), (MARKDOWN, PDF)
    )
    if media_type is None:
        raise NotAcceptable(f"A report is {HTML}, {PDF} or {MARKDOWN}.", headers={"Vary": "Accept"})
    if media_type == PDF:
        check_installed()
    return media_type


def written_as(template: str, report: PrintedReport) -> bytes:
    """The report in the form of a template."""
    return environment().get_template(template).render(report=report).encode()


def passed_on(document: ServedDocument) -> Response:
    """A refusal of a part, as it is."""
    return Response(document.body, document.status, dict(document.headers))
