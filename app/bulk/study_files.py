"""A study as Parquet files that have whole patients, for an engine that derives them in parts, and the list of them.

Each row is a patient (`timeline.cohort_batches`), with the number of the file that it was written to and the name of
the export. The list (`_study.json`) says of which study, revision and protocol the files are, and how many patients
each has; it is written last, and its digest is checked. Whatever does not belong together is refused by name: no figure
is computed from a part of a study or from facts of two.

`checked` and what it needs run on the machines of the engine, too. pyarrow is imported where it is used.
"""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import SOFTWARE
from app.derive.parts import StudyPart
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.timeline import cohort_batches
from app.timeline.cohort import DIGEST, Cohort, digest_of_patients
from app.timeline.cohort_batches import Batch
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

FORM = 1
"""The form of the list. Files of a later form are not read."""
LIST = "_study.json"
"""Engines leave out files whose names begin so."""
BATCHES_IN_A_FILE = 4


DerivedBatch = tuple[Counter[int], NDArray[np.bytes_], StudyPart]
"""What an engine makes of a batch: how many patients of each file it has, their digests, and the part of the study."""


class UnusableStudyFiles(Exception):
    """The files are not those of one study, or not all of them, or cannot be written or read. The text says which."""


@dataclass(frozen=True, slots=True)
class ExportedFrom:
    """What the files were written from: what the header of an answer needs beside the facts."""

    study: str
    revision: int
    as_of: str
    protocol_changed_after_first_outcome: bool


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """The list: `export` names these files, `data` is the digest of their facts, `values_sent` counts them by code, and
    `patients` says for each file how many patients it has.
    """

    form: int
    software: str
    meaning: str
    export: str
    origin: ExportedFrom
    protocol_digest: str
    protocol: str
    data: str
    zoned: bool
    values_sent: Mapping[str, int]
    patients: Sequence[int]

    @property
    def declared(self) -> Protocol:
        """The protocol."""
        return Protocol.model_validate_json(self.protocol)


@dataclass(frozen=True, slots=True)
class Checks:
    """What each row of the files has in common."""

    export: str
    zoned: bool


def name_of(number: int) -> str:
    """The name of a file."""
    return f"part-{number:05d}.parquet"


def schema() -> Any:  # noqa: ANN401 - a schema of pyarrow
    """The columns of the files."""
    import pyarrow as arrow

    own = arrow.schema([("part", arrow.int32()), ("export", arrow.string())])
    return arrow.schema([*own, *cohort_batches.schema()])


# --- writing ----------------------------------------------------------------------------------------------------------


def write(place: str, cohorts: Iterable[Cohort], origin: ExportedFrom, protocol: Protocol) -> StudyFiles:
    """Write the files of a study into a new or empty folder, and the list when all of them are there.

    The cohorts, at least one, are those of some patients of the study each, and are taken one after the other. A new
    local folder is for its owner only.
    """
    from pyarrow import ArrowException, fs, parquet

    files, folder = _opened(place)
    export = secrets.token_hex(16)
    written = _Written(protocol)
    batches = written.batches(cohorts)
    patients: list[int] = []
    try:
        if _names(files, folder):
            raise UnusableStudyFiles(f"{place} is not empty: name a new folder")
        if isinstance(files, fs.LocalFileSystem):
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        files.create_dir(folder, recursive=True)
        while (first := next(batches, None)) is not None:
            number, rows = len(patients), 0
            with (
                files.open_output_stream(f"{folder}/{name_of(number)}") as sink,
                parquet.ParquetWriter(sink, schema(), compression="zstd", write_page_checksum=True) as writer,
            ):
                for batch in chain([first], islice(batches, BATCHES_IN_A_FILE - 1)):
                    writer.write_batch(_labelled(batch, number, export))
                    rows += batch.num_rows
            patients.append(rows)
        made = StudyFiles(
            form=FORM,
            software=SOFTWARE,
            meaning=cohort_batches.meaning(),
            export=export,
            origin=origin,
            protocol_digest=protocol.digest,
            protocol=protocol.model_dump_json(),
            data=digest_of_patients(np.concatenate(written.digests), zoned=written.zoned),
            zoned=written.zoned,
            values_sent=written.values_sent(),
            patients=patients,
        )
        with files.open_output_stream(f"{folder}/{LIST}") as sink:
            sink.write(_to_json(made))
    except (OSError, ArrowException) as error:
        raise UnusableStudyFiles(f"{place} cannot be written: {_why(error)}") from None
    return made


class _Written:
    """What the list says of the cohorts that were written."""

    def __init__(self, protocol: Protocol) -> None:
        self.digests: list[NDArray[np.bytes_]] = []
        self.zoned = False
        self._protocol = protocol
        self._sent: Counter[str] = Counter()

    def batches(self, cohorts: Iterable[Cohort]) -> Iterator[Batch]:
        """The batches of the cohorts."""
        for cohort in cohorts:
            self.digests.append(cohort.digests)
            self.zoned = cohort.zoned
            self._sent.update(DerivedStudy(cohort, self._protocol).values_sent)
            yield from cohort_batches.batches_of(cohort)

    def values_sent(self) -> dict[str, int]:
        """How many values of each code were sent, in the order of the codes."""
        return {code: self._sent[code] for code in (*LAB_CODES, *ASSESSMENT_CODES) if self._sent[code]}


def _labelled(batch: Batch, number: int, export: str) -> Batch:
    import pyarrow as arrow

    own = [arrow.repeat(arrow.scalar(value, kind), batch.num_rows)
           for value, kind in ((number, arrow.int32()), (export, arrow.string()))]  # fmt: skip
    return arrow.record_batch([*own, *batch.columns], schema=schema())


def _to_json(made: StudyFiles) -> bytes:
    content = asdict(made)
    return json.dumps({"digest": _digest(content), "study": content}, indent=2).encode() + b"\n"


def _digest(content: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------


def listed(place: str) -> StudyFiles:
    """The list of the files of a study. Raises `UnusableStudyFiles`."""
    files, folder = _opened(place)
    try:
        with files.open_input_stream(f"{folder}/{LIST}") as source:
            text = source.read()
    except FileNotFoundError:
        raise UnusableStudyFiles(f"{place} has no {LIST}: it is no export of a study, or not a complete one") from None
    except OSError as error:
        raise UnusableStudyFiles(f"{place} cannot be read: {_why(error)}") from None
    try:
        read = json.loads(text)
        content = read["study"]
        whole = read["digest"] == _digest(content)
        form, software = content["form"], content["software"]
    except (ValueError, LookupError, TypeError):
        raise UnusableStudyFiles(f"{LIST} is damaged") from None
    if form > FORM:
        raise UnusableStudyFiles(f"{LIST} was written by {software}, which is newer than {SOFTWARE}")
    if not whole:
        raise UnusableStudyFiles(f"{LIST} is damaged: its digest is that of another content")
    found = StudyFiles(**content | {"origin": ExportedFrom(**content["origin"])})
    if found.meaning != cohort_batches.meaning():
        raise UnusableStudyFiles(f"the files were written by {software}, whose columns differ from those of {SOFTWARE}")
    if found.declared.digest != found.protocol_digest:
        raise UnusableStudyFiles(f"the protocol was written by {software} and means something else to {SOFTWARE}")
    return found


def checked(batch: Batch, checks: Checks) -> tuple[Counter[int], Cohort]:
    """How many patients of each file a batch has, and its cohort. Raises `UnusableStudyFiles`."""
    from pyarrow import ArrowException

    try:
        batch.validate(full=True)
        exports, parts = (batch.column(name).to_pylist() for name in ("export", "part"))
        cohort = None if {*exports} - {checks.export} else _cohort_of(batch, checks)
        names = sorted({name_of(part) for part in parts})
    except (ArrowException, ValueError, LookupError, TypeError):
        raise UnusableStudyFiles("a file is damaged: a row has what no export writes") from None
    if cohort is None:
        raise UnusableStudyFiles(f"{names[0]} belongs to another export: another study, revision or protocol")
    if not np.array_equal(replace(cohort).digests, cohort.digests):
        raise UnusableStudyFiles(f"{names[0]} is damaged: its facts are not those that were written")
    return Counter(parts), cohort


def _cohort_of(batch: Batch, checks: Checks) -> Cohort:
    import pyarrow as arrow

    ids = batch.column("id").to_pylist()
    if ids != sorted(ids):
        batch = batch.take(arrow.array(sorted(range(len(ids)), key=ids.__getitem__)))
    if batch.schema.field("digest").type != cohort_batches.schema().field("digest").type:
        at = batch.schema.get_field_index("digest")
        batch = batch.set_column(at, "digest", batch.column(at).cast(arrow.binary(DIGEST.itemsize)))
    return cohort_batches.cohort_of([batch], zoned=checks.zoned)


def require_all(files: StudyFiles, found: Counter[int], digests: Sequence[NDArray[np.bytes_]]) -> None:
    """Raise `UnusableStudyFiles` unless each patient of each file was found once. `digests` are those of the patients
    that were found, in any order.
    """
    for number, patients in enumerate(files.patients):
        if found[number] != patients:
            what = "is missing" if not found[number] else f"has {found[number]:,} patients instead of {patients:,}"
            raise UnusableStudyFiles(f"{name_of(number)} {what}")
    if digest_of_patients(np.concatenate([np.empty(0, DIGEST), *digests]), zoned=files.zoned) != files.data:
        raise UnusableStudyFiles("the facts of the files are not those of the list")


def read(place: str, files: StudyFiles) -> Iterator[tuple[Counter[int], Cohort]]:
    """Each batch of all files, as `checked` gives it; `require_all` says whether they are all. Raises
    `UnusableStudyFiles`.
    """
    return (checked(batch, Checks(files.export, files.zoned)) for batch in _batches(place))


def nobody(*, zoned: bool) -> Cohort:
    """The cohort without patients."""
    return cohort_batches.cohort_of([], zoned=zoned)


def _batches(place: str) -> Iterator[Batch]:
    from pyarrow import ArrowException, parquet

    files, folder = _opened(place)
    for name in _names(files, folder):
        if name.endswith(".parquet"):
            try:
                with files.open_input_file(f"{folder}/{name}") as source:
                    file = parquet.ParquetFile(source, page_checksum_verification=True)
                    if missing := {*schema().names} - {*file.schema_arrow.names}:
                        raise UnusableStudyFiles(f"{name} is no file of this export: it has no {min(missing)}")
                    for group in range(file.num_row_groups):
                        yield from file.read_row_group(group).combine_chunks().to_batches()
            except (OSError, ArrowException) as error:
                raise UnusableStudyFiles(f"{name} is damaged: {_why(error)}") from None


def _opened(place: str) -> tuple[Any, str]:
    """The file system of a folder or URL, and the folder in it."""
    from pyarrow import ArrowException, fs

    if "://" not in place:
        return fs.LocalFileSystem(), str(Path(place).absolute())
    try:
        return fs.FileSystem.from_uri(place)  # type: ignore[no-any-return]
    except (ArrowException, OSError):
        pass
    try:
        from fsspec.core import url_to_fs

        found, path = url_to_fs(place)
    except ImportError:
        raise UnusableStudyFiles(f"{place.partition('://')[0]}:// needs fsspec: pip install fsspec") from None
    except (ValueError, OSError) as error:
        raise UnusableStudyFiles(f"{place} cannot be opened: {_why(error)}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def _names(files: Any, folder: str) -> list[str]:  # noqa: ANN401 - a file system of pyarrow
    from pyarrow import fs

    found = files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return sorted(each.base_name for each in found)


def _why(error: Exception) -> str:
    return type(error).__name__
