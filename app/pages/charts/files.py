"""A chart of a stored study as the bytes of a file. Worker processes load this module."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from app.analyses import NullOptions, answer
from app.analyses.answer import Options, TrueOrFalse, populations
from app.analyses.answer_document import Header, answer_values
from app.analyses.ck_normal.ck_normal_interval import IntervalOptions
from app.analyses.report import flow
from app.analyses.trajectories import trajectories
from app.derive.known_estimates import keep_within, known_or_made
from app.derive.later_revision import room_for_estimates
from app.derive.study import DerivedStudy
from app.errors import Fault, FaultCode, NotFound
from app.pages.charts import CHARTS
from app.pages.charts.chart import TRAJECTORIES, Chart
from app.pages.charts.rendering import VEGA_LITE, drawing_of, rendered, to_draw
from app.pages.charts.theme import Width
from app.protocol.model import Protocol
from app.timeline.cohort import Cohort


class ChartOptions(Options):
    """The options of a chart: those of its questions, its width, and which patient."""

    width: Width = Field(
        default="wide", description="`narrow`: 360 pixels wide; `wide`: 760.", examples=["wide", "narrow"]
    )
    patients: TrueOrFalse = Field(
        default=False,
        description="Also draw each patient. Only for `ck-change`; it needs the scope `read-patients`.",
        examples=[False],
    )
    patient: str | None = Field(
        default=None,
        max_length=64,
        description="Draw this patient alone. Only for `ck-trajectories`.",
        examples=["P01"],
    )


class DrawnOptions(NullOptions, IntervalOptions):
    """The options of the questions of a chart. No chart shows what resamples give, so none are drawn."""

    resamples: int = 0


def chart_file(
    name: str, media_type: str, options: ChartOptions, header: Header, cohort: Cohort, protocol: Protocol
) -> bytes:
    """A chart in a media type, from what the study answers to the questions of the chart. What was drawn for another
    revision is not drawn again if nothing but its words differs.
    """
    document = chart_document(CHARTS[name], options, header, cohort, protocol)
    spec = CHARTS[name].draw(document, options.width)
    if media_type == VEGA_LITE:
        return rendered(spec, media_type)
    drawn = known_or_made(cohort.estimated, drawing_of, to_draw(spec))
    keep_within(cohort.estimated, room_for_estimates(len(cohort)))
    return rendered(spec, media_type, drawn)


def chart_document(
    chart: Chart, options: Options, header: Header, cohort: Cohort, protocol: Protocol
) -> Mapping[str, Any]:
    """The answers that a chart is drawn from, in the form of a report."""
    common = {name: getattr(options, name) for name in Options.model_fields}
    asked = DrawnOptions.model_construct(
        options.model_fields_set & set(Options.model_fields),
        **common | {"patients": chart.shows_patients or options.patients, "null": chart.without_effect},
    )
    study = DerivedStudy(cohort, protocol)
    answers: dict[str, Mapping[str, Any]] = {
        name: answer_values(header, answer(name, cohort, protocol, asked))
        for name in chart.questions
        if name != TRAJECTORIES
    }
    if TRAJECTORIES in chart.questions:
        answers[TRAJECTORIES] = _trajectories(study, getattr(options, "patient", None))
    return {
        **header.model_dump(mode="json"),
        "populations": populations(study).model_dump(mode="json"),
        "flow": [step.model_dump(mode="json") for step in flow(study)],
        "analyses": answers,
    }


def _trajectories(study: DerivedStudy, patient: str | None) -> Mapping[str, Any]:
    """What is shown of the patients. Raises `NotFound` for a patient whom the study does not have."""
    if patient is not None and all(row.id != patient for row in study.cohort.patients):
        raise NotFound("The study has no patient of this name.", [Fault("/query/patient", FaultCode.UNKNOWN_VALUE)])
    return {"patient": patient, **trajectories(study, patient).model_dump(mode="json")}
