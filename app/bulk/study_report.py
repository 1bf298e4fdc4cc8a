"""The commands `export --format parquet` and `derive`: a study as files, and the report of such files.

The report is that of the service, byte for byte, whichever engine derives it.
"""

from collections.abc import Mapping

from app import SOFTWARE
from app.access.study_answers import declared_after_first_outcome
from app.analyses import NullOptions, report_of_derived
from app.analyses.answer_document import Header, Provenance, report_document
from app.analyses.preset_difference import compared_with
from app.analyses.without_effect import SMALL
from app.bulk import spark_engine, study_files
from app.bulk.study_files import ExportedFrom, StudyFiles
from app.derive.parts import joined, measures_read
from app.derive.study import DerivedStudy
from app.protocol.presets import differs_from_preset
from app.store import audit
from app.store.engine import Database
from app.store.snapshot import study_at


def export_files(database: Database, study: str, place: str) -> StudyFiles:
    """Write the files of a study at its latest revision. Raises `NotFound` and `UnusableStudyFiles`."""
    with study_at(database, study) as snapshot:
        protocol, cohort = snapshot.protocol, snapshot.cohort()
        changed = declared_after_first_outcome(snapshot, cohort, protocol)
        origin = ExportedFrom(snapshot.id, snapshot.revision, snapshot.as_of, changed)
    audit.note_command(database, "export", "everyone", study=study, revision=origin.revision)
    return study_files.write(place, cohort, DerivedStudy(cohort, protocol).values_sent, origin, protocol)


def report_here(place: str) -> bytes:
    """The report of the files of a study, derived in this process. Raises `UnusableStudyFiles`."""
    files = study_files.listed(place)
    return _document(files, DerivedStudy(study_files.read(place, files), files.declared))


def report_on_spark(place: str, master: str | None, settings: Mapping[str, str]) -> bytes:
    """The same, derived by Spark in parts. Raises `UnusableStudyFiles` and `NoEngine`.

    The report simulates in a small study; for this it needs all facts of the study.
    """
    files = study_files.listed(place)
    protocol = files.declared
    protocols, all_facts = (protocol, *compared_with(protocol)), _is_small(files)
    parts = spark_engine.derived_parts(
        place,
        files,
        protocols,
        measures_read(files.values_sent, protocol),
        all_facts=all_facts,
        master=master,
        settings=settings,
    )
    if not parts:
        return _document(files, DerivedStudy(study_files.nobody(zoned=files.zoned), protocol))
    return _document(files, joined(parts, protocols, all_facts=all_facts))


def _is_small(files: StudyFiles) -> bool:
    return sum(files.values_sent.values()) <= SMALL


def _document(files: StudyFiles, study: DerivedStudy) -> bytes:
    origin, protocol = files.origin, files.declared
    header = Header(
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
    return report_document(header, report_of_derived(study, NullOptions(null=_is_small(files))))
