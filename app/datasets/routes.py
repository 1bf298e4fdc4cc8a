"""The routes of the datasets for statisticians: their variables, and each dataset as CSV, Parquet or SAS transport."""

from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from app import SOFTWARE
from app.datasets import NAMES, DatasetDescription, describe, parquet, transport
from app.datasets.files import CSV, PARQUET, TRANSPORT, dataset_file
from app.datasets.variables import Variable
from app.errors import Erased, NotAcceptable, NotFound, NotInstalled, TakesTooLong
from app.estimate.results import Result
from app.http.answers import Asker, Asking, despite_erasure
from app.http.dependencies import IDENTIFIER, At, IfNoneMatch, State, StudyId
from app.http.openapi import NOT_MODIFIED, answers, reference, refuses, specimen
from app.http.problems import unknown_name
from app.http.responses import address, etag_from, matches, preferred, tagged, written
from app.protocol.model import Protocol
from app.store.audit import everyone_was_read
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import study_at

router = APIRouter(tags=["analyses"])

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
    stem, media_type = _requested_dataset(name, request)
    if media_type in _CHECKS:
        _CHECKS[media_type]()
    answer = await despite_erasure(partial(_dataset_response, asker, study, at, stem, media_type, if_none_match))
    answer.headers["Vary"] = "Accept"
    return answer


def _requested_dataset(name: str, request: Request) -> tuple[str, str]:
    """The dataset and the media type that a request names."""
    stem, dot, suffix = name.partition(".")
    if stem not in NAMES or (dot and suffix not in SUFFIXES):
        known = (*NAMES, *(f"{name}.{ending}" for name in NAMES for ending in SUFFIXES))
        raise unknown_name(known, "There is no dataset of this name.")
    if dot:
        return stem, SUFFIXES[suffix]
    media_type = preferred(request.headers.getlist("accept"), tuple(SUFFIXES.values()))
    if media_type is None:
        raise NotAcceptable(f"A dataset is {CSV}, {PARQUET} or {TRANSPORT}.", headers={"Vary": "Accept"})
    return stem, media_type


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
    work = partial(dataset_file, study, AsOf(revision), name, media_type)
    answer = tagged(await asker.computed(tag, work, study), tag, None, media_type)
    suffix = next(each for each, named in SUFFIXES.items() if named == media_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{study}-{name}-revision-{revision}.{suffix}"'
    return answer


def _version(database: Database, study: str, at: AsOf) -> tuple[str, int, int, str]:
    with study_at(database, study, at) as snapshot:
        return snapshot.tag()
