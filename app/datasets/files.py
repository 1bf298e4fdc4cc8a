"""A dataset of a stored study as the bytes of a file. Worker processes load this module."""

import io

from app.access.study_answers import Workplace, header
from app.datasets import as_csv, dataset
from app.datasets.parquet import as_parquet
from app.datasets.transport import as_transport
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
    file = io.BytesIO()
    file.writelines(map(str.encode, as_csv(pieces)))
    return file.getvalue()
