"""A dataset of a stored study as the bytes of a file. Worker processes load this module."""

from collections.abc import Iterator

from app.access.study_answers import header
from app.access.work import Workplace
from app.datasets import DatasetDescription, csv_parts, dataset, describe, rows_of_patients
from app.datasets.parquet import as_parquet
from app.datasets.transport import as_transport
from app.protocol.model import Protocol
from app.store.revisions import AsOf
from app.store.snapshot import study_at

CSV, PARQUET, TRANSPORT = "text/csv", "application/vnd.apache.parquet", "application/x-sas-xport"


def dataset_file(study: str, at: AsOf, name: str, media_type: str, place: Workplace) -> bytes:
    """A dataset of the study under its protocol at a revision, as CSV, Parquet or SAS transport."""
    with study_at(place.database, study, at) as snapshot:
        cohort, changed = place.cohorts.cohort_of(snapshot), snapshot.protocol_changed_after_first_outcome()
        protocol, sources = snapshot.protocol, snapshot.sources(cohort)
    head = header(snapshot, cohort, protocol, changed=changed)
    pieces = dataset(name, head, cohort, protocol, sources)
    if media_type == PARQUET:
        return as_parquet(pieces, head)
    if media_type == TRANSPORT:
        return as_transport(pieces, head)
    return b"".join(csv_parts(_described(name, protocol), pieces))


def dataset_lines(study: str, at: AsOf, name: str, place: Workplace) -> Iterator[bytes]:
    """A dataset other than `ard` as CSV in parts; each part is read from the database when the one before was taken."""
    with study_at(place.database, study, at) as snapshot:
        protocol = snapshot.protocol
        pieces = (
            piece
            for cohort, sources in snapshot.cohorts_with_sources()
            for piece in rows_of_patients(name, study, cohort, protocol, sources)
        )
        yield from csv_parts(_described(name, protocol), pieces)


def _described(name: str, protocol: Protocol) -> DatasetDescription:
    return next(each for each in describe(protocol) if each.name == name)
