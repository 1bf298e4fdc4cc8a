"""The commands `export --format parquet` and `derive`: a study as files, and the report of such files.

The report is that of the service, byte for byte, whichever engine derives it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from app import SOFTWARE
from app.analyses import NullOptions, report_of_derived
from app.analyses.answer_document import Header, Provenance, report_document
from app.analyses.preset_difference import compared_with
from app.analyses.without_effect import SMALL
from app.bulk import spark_engine, study_files
from app.bulk.study_files import DerivedBatch, ExportedFrom, StudyFiles
from app.derive.parts import PartsRead, joined, measures_read, part_of
from app.derive.study import DerivedStudy
from app.protocol.presets import differs_from_preset
from app.store import audit
from app.store.engine import Database
from app.store.snapshot import study_at


def export_files(database: Database, study: str, place: str) -> StudyFiles:
    """Write the files of a study at its latest revision. Raises `NotFound` and `UnusableStudyFiles`."""
    with study_at(database, study) as snapshot:
        changed = snapshot.protocol_changed_after_first_outcome()
        origin = ExportedFrom(snapshot.id, snapshot.revision, snapshot.as_of, changed)
        audit.note_command(database, "export", "everyone", study=study, revision=origin.revision)
        cohorts = (cohort for cohort, _ in snapshot.cohorts_with_sources())
        return study_files.write(place, cohorts, origin, snapshot.protocol)


def report_here(place: str) -> bytes:
    """The report of the files of a study, derived in this process batch by batch: it has the results of one batch in
    memory at a time. Raises `UnusableStudyFiles`.
    """
    return _report(place, partial(_derived_here, place))


def report_on_spark(place: str, master: str | None, settings: Mapping[str, str]) -> bytes:
    """The same, derived by Spark. Raises `UnusableStudyFiles` and `NoEngine`."""
    return _report(place, partial(spark_engine.derived_parts, place, master, settings))


def _derived_here(place: str, files: StudyFiles, wanted: PartsRead) -> Iterator[DerivedBatch]:
    for counts, cohort in study_files.read(place, files):
        yield counts, cohort.digests, part_of(cohort, wanted)


def _report(place: str, derived: Callable[[StudyFiles, PartsRead], Iterable[DerivedBatch]]) -> bytes:
    """The report of the files from what an engine derives of them. It simulates in a small study, and needs all facts
    of such a study for this.
    """
    files = study_files.listed(place)
    protocol, small = files.declared, sum(files.values_sent.values()) <= SMALL
    wanted = PartsRead(
        (protocol, *compared_with(protocol)), measures_read(files.values_sent, protocol), all_facts=small
    )
    found: Counter[int] = Counter()
    digests, parts = [], []
    for counts, of_part, part in derived(files, wanted):
        found += counts
        digests.append(of_part)
        parts.append(part)
    study_files.require_all(files, found, digests)
    nobody = DerivedStudy(study_files.nobody(zoned=files.zoned), protocol)
    study = joined(parts, wanted) if parts else nobody
    return report_document(_header(files), report_of_derived(study, NullOptions(null=small)))


def _header(files: StudyFiles) -> Header:
    origin, protocol = files.origin, files.declared
    return Header(
        study=origin.study,
        revision=origin.revision,
        as_of=origin.as_of,
        provenance=Provenance(
            protocol=protocol.digest,
            protocol_id=protocol.id,
            differs_from_preset=differs_from_preset(protocol),
            protocol_changed_after_first_outcome=origin.protocol_changed_after_first_outcome,
            data=files.data,
            software=SOFTWARE,
        ),
    )
