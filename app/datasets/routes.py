"""The routes of the datasets for statisticians: their variables, each dataset as a file, and series of values."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import Path, Query, Request, Response
from pydantic import Field

from app import SOFTWARE
from app.datasets import NAMES, DatasetDescription, describe, parquet, transport
from app.datasets.files import CSV, PARQUET, TRANSPORT, dataset_file, dataset_lines
from app.datasets.series import AskedSeries, SeriesPage, series_of_study
from app.datasets.variables import Variable
from app.errors import Erased, NotAcceptable, NotFound, NotInstalled, TakesTooLong
from app.estimate.results import Result
from app.http.answers import Asker, Asking, despite_erasure
from app.http.dependencies import IDENTIFIER, At, Cursor, IfNoneMatch, Limit, State, StudyId
from app.http.openapi import NOT_MODIFIED, answers, reference, refuses, specimen
from app.http.responses import address, etag_from, link, matches, named_file, next_page, tagged, written
from app.http.routing import Operations
from app.protocol.model import Protocol
from app.store.audit import everyone_was_read, was_read
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import study_at
from app.timeline.vocabulary import AssessmentCode, LabCode

router = Operations(tags=["analyses"])

SUFFIXES = {"csv": CSV, "parquet": PARQUET, "xpt": TRANSPORT}
_CHECKS = {PARQUET: parquet.check_installed, TRANSPORT: transport.check_installed}


class OfferedDataset(DatasetDescription):
    """A dataset, its variables and its addresses."""

    csv: str = Field(description="Its address as CSV.", examples=["/v1/studies/demo/datasets/adsl.csv"])
    parquet: str = Field(description="Its address as Parquet.", examples=["/v1/studies/demo/datasets/adsl.parquet"])
    xpt: str = Field(
        description="Its address as SAS transport file, version 5.", examples=["/v1/studies/demo/datasets/adsl.xpt"]
    )
    variables: tuple[Variable, ...] = Field(
        description="Its variables in the order of the columns.", examples=[[specimen(Variable)]]
    )


class Datasets(Result):
    """The datasets of a study and their variables."""

    study: str = Field(description="The study.", examples=["demo"])
    revision: int = Field(description="The revision whose protocol decides on the variables.", examples=[16])
    as_of: str = Field(description="When that revision was received.", examples=["2026-11-22T10:00:00Z"])
    protocol_id: str = Field(description="Name of the protocol.", examples=["seed-2008"])
    protocol: str = Field(description="Digest of the protocol.", examples=["sha256:6f29e5f4..."])
    software: str = Field(description="Name and version of the service.", examples=["myoresponse 0.1.0"])
    items: tuple[OfferedDataset, ...] = Field(description="The datasets.", examples=[[]])


@router.get(
    "/v1/studies/{study}/datasets",
    operation_id="listDatasets",
    summary="List the datasets for statisticians",
    responses={
        200: answers("The datasets with their variables.", reference(Datasets), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def list_datasets(
    request: Request, study: StudyId, state: State, at: At, if_none_match: IfNoneMatch = None
) -> Response:
    """Every dataset with each variable: name, label, type, unit, meaning, derivation, and whether it is one of CDISC
    ADaM or ours. Each response rule and each measure of the study's protocol has its variables.
    """
    with study_at(state.database, study, at) as snapshot:
        protocol, content = snapshot.protocol, snapshot.tag()
    home = address(request, f"/v1/studies/{study}/datasets")
    revision_query = "" if at.latest else f"?revision={snapshot.revision}"
    listed = Datasets(
        study=study,
        revision=snapshot.revision,
        as_of=snapshot.as_of,
        protocol_id=protocol.id,
        protocol=protocol.digest,
        software=SOFTWARE,
        items=_offered(protocol, home, revision_query),
    )
    tag = etag_from("datasets", home, revision_query, *content)
    return tagged(written(listed.model_dump(mode="json")), tag, if_none_match)


def _offered(protocol: Protocol, home: str, revision_query: str) -> tuple[OfferedDataset, ...]:
    return tuple(
        OfferedDataset(
            **dict(description),
            csv=f"{home}/{description.name}.csv{revision_query}",
            parquet=f"{home}/{description.name}.parquet{revision_query}",
            xpt=f"{home}/{description.name}.xpt{revision_query}",
        )
        for description in describe(protocol)
    )


_FILE = {"type": "string", "format": "binary"}
_READ = answers("The dataset.", _FILE, "ETag", media_type=CSV)
_READ["content"] |= {PARQUET: {"schema": _FILE}, TRANSPORT: {"schema": _FILE}}


@router.get(
    "/v1/studies/{study}/datasets/{name}",
    operation_id="getDataset",
    summary="Read a dataset for statisticians",
    responses={200: _READ, 304: NOT_MODIFIED, **refuses(NotFound, Erased, NotAcceptable, NotInstalled, TakesTooLong)},
)
async def get_dataset(
    request: Request,
    study: StudyId,
    name: Annotated[
        str,
        Path(
            max_length=64,
            pattern=IDENTIFIER,
            description=f"One of {', '.join(f'`{name}`' for name in NAMES)}, with the suffix `.csv`, `.parquet` or "
            "`.xpt` (SAS transport, version 5). "
            "Without a suffix Accept decides; CSV if it is absent.",
            examples=["adsl.csv"],
        ),
    ],
    asker: Asking,
    at: At,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A dataset of the study under its protocol, at one revision. The same revision, protocol and version of the
    software give the same bytes and the same ETag. Each row names the facts that it was made from. In CSV a text that
    begins like a formula has a `'` before it; numbers have enough digits to be read back exactly.
    """
    stem, media_type = named_file(name, request.headers.getlist("accept"), NAMES, SUFFIXES, "dataset")
    if media_type in _CHECKS:
        _CHECKS[media_type]()
    answer = await despite_erasure(partial(_dataset_response, asker, study, at, stem, media_type, if_none_match))
    answer.headers["Vary"] = "Accept"
    return answer


async def _dataset_response(
    asker: Asker, study: str, at: AsOf, name: str, media_type: str, if_none_match: str | None
) -> Response:
    if name != "ard":  # that one has results, the others have a row or more for each patient
        everyone_was_read()
    origin = await run_sync(_version, asker.state.database, study, at)
    tag = etag_from("dataset", name, media_type, *origin)
    if matches(if_none_match, tag):
        return tagged(b"", tag, if_none_match)
    _, revision, *_ = origin
    answer: Response
    if media_type == CSV and name != "ard":
        answer = await asker.file_in_parts(partial(dataset_lines, study, AsOf(revision), name), media_type, study)
        answer.headers["ETag"] = tag
    else:
        work = partial(dataset_file, study, AsOf(revision), name, media_type)
        answer = tagged(await asker.computed(tag, work, study), tag, None, media_type)
    suffix = next(each for each, named in SUFFIXES.items() if named == media_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{study}-{name}-revision-{revision}.{suffix}"'
    return answer


def _version(database: Database, study: str, at: AsOf) -> tuple[str, int, int, str]:
    with study_at(database, study, at) as snapshot:
        return snapshot.tag()


@router.get(
    "/v1/studies/{study}/series",
    operation_id="getSeries",
    summary="Read the values of a measure over time",
    responses={
        200: answers("A page of patients with their values.", reference(SeriesPage), "ETag", "Link"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased, TakesTooLong),
    },
)
async def get_series(
    request: Request,
    study: StudyId,
    asker: Asking,
    at: At,
    measure: Annotated[
        Literal[LabCode, AssessmentCode], Query(description="The laboratory result or score.", examples=["CK"])
    ],
    patient: Annotated[
        str | None,
        Query(max_length=64, pattern=IDENTIFIER, description="Only this patient.", examples=["P01"]),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """For each patient all values of one measure, as columns that can be drawn: time, day, value, its own upper limit,
    and whether analyses use it. Records that were merged are one patient. All pages are read at the revision of the
    first page.
    """
    question = ("series", study, measure, patient)
    at, first = asker.state.cursors.walk(question, at, cursor, start=0)
    planned = partial(_planned_series, request, asker, question, (first, limit), at)
    return await despite_erasure(partial(_series, asker, study, planned, if_none_match))


def _planned_series(
    request: Request, asker: Asker, question: tuple[str, str, str, str | None], page: tuple[int, int], at: AsOf
) -> tuple[AskedSeries, str, list[str]]:
    """The page that a request means, the tag of its answer, and the records that it shows."""
    (_, study, measure, patient), (first, limit) = question, page
    with study_at(asker.state.database, study, at) as snapshot:
        persons, origin = snapshot.persons(), snapshot.tag()
        if patient is not None:
            snapshot.require_patient(patient)
            first, limit = _place_of(patient, persons), 1
    shown = list(persons.values())[first : first + limit]
    more = patient is None and first + limit < len(persons)
    cursor = asker.state.cursors.sign(question, [snapshot.revision, first + limit]) if more else None
    following = next_page(request, cursor) if cursor else None
    asked = AskedSeries(study, snapshot.revision, measure, first, len(shown), following)
    tag = etag_from("series", measure, first, len(shown), following, *origin)
    return asked, tag, [record for records in shown for record in records]


def _place_of(patient: str, persons: Mapping[str, list[str]]) -> int:
    """The place of the person whose record this is."""
    return next(place for place, records in enumerate(persons.values()) if patient in records)


async def _series(
    asker: Asker, study: str, planned: Callable[[], tuple[AskedSeries, str, list[str]]], if_none_match: str | None
) -> Response:
    asked, tag, records = await run_sync(planned)
    was_read(study, records)
    if matches(if_none_match, tag):
        return tagged(b"", tag, if_none_match)
    answer = tagged(await asker.computed(tag, partial(series_of_study, asked), study), tag, None)
    if asked.following:
        answer.headers.update(link(asked.following))
    return answer
