"""The routes of the charts: which there are, and each as Vega-Lite, SVG, PNG or PDF."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import ConfigDict, Field

from app.access.callers import Scope
from app.access.study_answers import StudyQuestion
from app.errors import (
    Accepts,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    NotAcceptable,
    NotFound,
    NotInstalled,
    TakesTooLong,
)
from app.estimate.results import Result
from app.http.answers import Asking, answer_question
from app.http.authentication import CallerOf
from app.http.dependencies import IDENTIFIER, At, IfNoneMatch, State, StudyId
from app.http.openapi import NOT_MODIFIED, answers, reference, refuses
from app.http.responses import address, etag_from, named_file, tagged, written
from app.http.routing import Operations
from app.pages.charts import CHARTS, Chart
from app.pages.charts.files import ChartOptions, chart_file
from app.pages.charts.rendering import MEDIA_TYPES, PDF, PNG, SVG, VEGA_LITE, check_renderer
from app.store.audit import everyone_was_read
from app.store.snapshot import study_at

router = Operations(tags=["analyses"])


class OfferedChart(Result):
    """A chart and its addresses."""

    name: str = Field(description="Its name in the address.", examples=["ck-normal-time"])
    title: str = Field(description="Its title.", examples=["How long CK stays normal"])
    questions: tuple[str, ...] = Field(
        description="The questions whose answers it shows; none where it shows the flow of patients or their values.",
        examples=[["ck-normal-time"]],
    )
    shows_patients: bool = Field(
        description="Whether it always shows single patients, so that it needs the scope `read-patients` too.",
        examples=[False],
    )
    takes: tuple[str, ...] = Field(
        description="The parameters that it takes beside those of all charts.", examples=[["by"]]
    )
    vega_lite: str = Field(
        description="Its address as a specification of Vega-Lite.",
        examples=["/v1/studies/demo/charts/ck-normal-time.json"],
    )
    svg: str = Field(description="As SVG.", examples=["/v1/studies/demo/charts/ck-normal-time.svg"])
    png: str = Field(description="As PNG.", examples=["/v1/studies/demo/charts/ck-normal-time.png"])
    pdf: str = Field(description="As PDF.", examples=["/v1/studies/demo/charts/ck-normal-time.pdf"])


class OfferedCharts(Result):
    """The charts of a study."""

    study: str = Field(description="The study.", examples=["demo"])
    revision: int = Field(description="The revision that was asked for.", examples=[16])
    items: tuple[OfferedChart, ...] = Field(description="The charts.", examples=[[]])


@router.get(
    "/v1/studies/{study}/charts",
    operation_id="listCharts",
    summary="List the charts",
    responses={
        200: answers("The charts with their addresses.", reference(OfferedCharts), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def list_charts(request: Request, study: StudyId, state: State, at: At, if_none_match: IfNoneMatch = None) -> Response:
    """Every chart, what it shows, and its addresses."""
    with study_at(state.database, study, at) as snapshot:
        revision = snapshot.revision
    home = address(request, f"/v1/studies/{study}/charts")
    query = "" if at.latest else f"?revision={revision}"
    listed = OfferedCharts(
        study=study, revision=revision, items=tuple(_offered(chart, home, query) for chart in CHARTS.values())
    )
    document = listed.model_dump(mode="json")
    return tagged(written(document), etag_from("charts", document), if_none_match)


def _offered(chart: Chart, home: str, query: str) -> OfferedChart:
    json, svg, png, pdf = (f"{home}/{chart.name}.{suffix}{query}" for suffix in MEDIA_TYPES)
    return OfferedChart(
        name=chart.name,
        title=chart.title,
        questions=chart.questions,
        shows_patients=chart.shows_patients,
        takes=tuple(sorted(chart.takes)),
        vega_lite=json,
        svg=svg,
        png=png,
        pdf=pdf,
    )


_OWN = frozenset({"by", "patient", "patients"})
"""The parameters that some charts take and others refuse."""


class ChartParameters(ChartOptions):
    """The options of a chart as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


_FILE = {"type": "string", "format": "binary"}
_DRAWN = answers("The chart.", {"type": "object"}, "ETag", media_type=VEGA_LITE)
_DRAWN["content"] |= {media_type: {"schema": _FILE} for media_type in (SVG, PNG, PDF)}


@router.get(
    "/v1/studies/{study}/charts/{name}",
    operation_id="getChart",
    summary="Draw a chart",
    responses={200: _DRAWN, 304: NOT_MODIFIED, **refuses(NotFound, Erased, NotAcceptable, NotInstalled, TakesTooLong)},
)
async def get_chart(
    request: Request,
    study: StudyId,
    name: Annotated[
        str,
        Path(
            max_length=64,
            pattern=IDENTIFIER,
            description=f"One of {', '.join(f'`{name}`' for name in CHARTS)}, with the suffix `.json` (a specification "
            "of Vega-Lite), `.svg`, `.png` or `.pdf`. Without a suffix Accept decides; Vega-Lite if it is absent.",
            examples=["ck-normal-time.svg"],
        ),
    ],
    asker: Asking,
    caller: CallerOf,
    at: At,
    given: Annotated[ChartParameters, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A chart of the study at one revision, drawn from the answers to its questions alone. The same revision,
    protocol, options and version of the software give the same bytes and the same ETag. The SVG has its alternative
    text as `title`, no style and no script, so that it may stand in a page.
    """
    stem, media_type = named_file(name, request.headers.getlist("accept"), CHARTS, MEDIA_TYPES, "chart")
    chart = CHARTS[stem]
    options = _options_of(chart, given)
    if media_type != VEGA_LITE:
        check_renderer()
    if chart.shows_patients or options.patients:
        caller.require(Scope.READ_PATIENTS)
        everyone_was_read()
    question = StudyQuestion(f"charts/{chart.name} {media_type}", study, at, options)
    compute = partial(chart_file, chart.name, media_type, options)
    answer = await answer_question(asker, question, compute, if_none_match, media_type)
    answer.headers["Vary"] = "Accept"
    return answer


def _options_of(chart: Chart, given: ChartParameters) -> ChartOptions:
    """The options of a chart. Raises `InvalidDocument` for a parameter that this chart does not take."""
    takes = _OWN & chart.takes
    refused = sorted((_OWN - takes) & given.model_fields_set)
    if refused:
        detail = "This chart does not take this parameter."
        accepts = Accepts(one_of=tuple(sorted(takes))) if takes else None
        faults = [Fault(f"/query/{name}", FaultCode.UNKNOWN_PARAMETER, detail, accepts) for name in refused]
        raise InvalidDocument(faults=faults)
    return ChartOptions.model_construct(given.model_fields_set, **dict(given))
