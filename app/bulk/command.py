"""The commands `import` and `export`: what they do and what they print.

The file holds, in this order: `import_files` with what it prints, also of a rehearsal; `Rejects`, which writes what was
refused into a new file; and `export_to` with `export_study`, which writes the timelines of a study.

Exit codes: 0, all of it was accepted; 1, something was refused; 2, the command cannot be carried out, and nothing was
stored or written; 3, the database failed; 4, a file, a disk or a pipe failed on the way; 128 and the number of a signal
that ended it.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Self

import typer

from app.bulk.endings import FILE_FAILED, Interruption, reason_of
from app.bulk.file_formats import records
from app.bulk.given_paths import FileState, objection_to_file, objection_to_new_file, objection_to_text
from app.bulk.import_files import Into, Refusal, Step, check_exports, import_file
from app.bulk.table_options import InvalidCommand
from app.errors import Conflict, Erased, Fault, InvalidDocument, NotFound, ServiceError
from app.readers.exports import ExportHead, LinesSeen
from app.readers.recognition import Format, format_named, format_of
from app.store import audit
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.submission.intake import proposed_in_rehearsal
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import Disposition

MOST_SHOWN = 20
"""How many refusals are printed. The file of rejects has all of them."""
DATABASE_FAILED = 3
"""The exit code where the database failed."""
AGAIN = "Run the command again: what is stored is not stored twice."
INTERRUPTED = "The import was interrupted."
CHANGED = "It was changed while it was read: import it again when nobody writes to it."
STATUSES = ("created", "changed", "unchanged", "stale", "skipped", "rejected")
PAGE = 100
"""How many patients are listed at a time. Their timelines are read one by one, so that memory holds one at most."""
MOST_FACTS = 20_000
"""The most facts on one line. A patient with more has several lines, which an import puts together again."""

_AROUND_PIECES: dict[Format, tuple[bytes, bytes, bytes]] = {
    "timelines": (b"[\n", b",\n", b"\n]\n"),
    "hl7v2": (b"", b"", b""),
}
"""What is written before, between and after the pieces of a format that does not consist of lines."""
OpenStudy = Callable[[], AbstractContextManager[StudyAt]]
"""A function that opens the study at the revision that is exported."""


class Stopped(Exception):
    """The command ended before its end, with this exit code; a part is done."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class ImportTally:
    """What an import has done until now."""

    counts: Counter[str] = field(default_factory=Counter)
    facts: Counter[Disposition] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    moved: dict[str, None] = field(default_factory=dict)
    """The studies whose exports were taken under another name."""
    without_head: int = 0
    """How many files of lines do not begin as exports."""

    def add(self, step: Step, into: Into) -> None:
        """Count a step."""
        self.counts += step.counts
        self.facts += step.facts
        self.left_alone += step.left_alone
        self.refused += len(step.refused)
        if step.exports is not None:
            self.without_head += not step.exports
            self.moved |= {each.head.study: None for each in step.exports if each.head.study != into.study}

    @property
    def words(self) -> str:
        """What was stored, in words."""
        counts, facts = self.counts, self.facts
        stored = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])
        alone = ", ".join(f"{count:,} {why}" for why, count in sorted(self.left_alone.items()))
        kept = ", ".join(f"{facts[each]:,} {each.replace('_', ' ')}" for each in Disposition if facts[each])
        sums = f"{f'; facts: {kept}' if kept else ''}{f'; left alone: {alone}' if alone else ''}"
        return f"{stored or 'nothing to store'}{sums}"


def import_files(
    files: Sequence[Path],
    given: Format | None,
    into: Into,
    rejects: Path | None,
    signals: Interruption,
    *,
    quiet: bool = False,
) -> bool:
    """Import files and print what was stored and what was refused. `True` where all of it was stored.

    Raises `InvalidCommand` before anything is stored, `Stopped` after something may be, and the errors that
    `import_file` raises, if nothing is.
    """
    formats = _checked(files, given, into)
    if rejects is not None:
        _check_rejects(rejects, files, formats, into)
    tally = ImportTally()
    signals.waiting = not all(map(Path.is_file, files))  # nobody knows when a pipe has more
    try:
        with ExitStack() as opened:
            refused = None if rejects is None else opened.enter_context(Rejects(rejects, formats[0]))
            for file, step in opened.enter_context(_progress(files, _steps(files, formats, into), quiet=quiet)):
                for refusal in step.refused[: max(MOST_SHOWN - tally.refused, 0)]:
                    typer.echo(_reason_line(file, refusal), err=True)
                tally.add(step, into)
                if refused is not None:
                    refused.add(file, step)
                if signals.asked:
                    break
    except SystemExit as end:
        if signals.at_once:
            raise
        raise _stopped(INTERRUPTED, signals.code, tally) from end
    except OSError as error:
        raise _stopped(f"{error.filename or 'A file'}: {reason_of(error)}.", FILE_FAILED, tally) from error
    except ServiceError as error:
        if not tally.counts:
            raise
        raise _stopped(f"{error.__cause__ or error}", DATABASE_FAILED, tally) from error
    if signals.asked:
        raise _stopped(INTERRUPTED, signals.code, tally)
    _print_result(len(files), tally, into, rejects, quiet=quiet)
    return not tally.refused


def _stopped(why: str, code: int, tally: ImportTally) -> Stopped:
    done = tally.words if tally.counts else "nothing that was counted"
    return Stopped(f"{why} Stored until then: {done}. {AGAIN}", code)


def _print_result(files: int, tally: ImportTally, into: Into, rejects: Path | None, *, quiet: bool) -> None:
    if tally.refused > MOST_SHOWN:
        more = "" if rejects else ": use --rejects to write them to a file"
        typer.echo(f"... and {tally.refused - MOST_SHOWN} more{more}.", err=True)
    if tally.counts["skipped"]:
        typer.echo(f"The database was busy, so that not everything was tried. {AGAIN}", err=True)
    if quiet:
        return
    for study in tally.moved:
        typer.echo(f"Note: an export of study {study} was stored in study {into.study}.", err=True)
    if tally.without_head:
        which = f"{tally.without_head} file{'s' if tally.without_head > 1 else ''} of lines"
        typer.echo(f"Note: {which} without the first line of an export, so nothing says if it is whole.", err=True)
    typer.echo(f"{files} file{'s' if files > 1 else ''}: {tally.words}.")
    if tally.refused and rejects is not None:
        why = f"What was refused: {rejects}; why" if rejects.exists() else "Why it was refused"
        typer.echo(f"{why}: {reasons_of(rejects)}")


def _checked(files: Sequence[Path], given: Format | None, into: Into) -> list[Format]:
    """The formats of files that can be imported. Raises `InvalidCommand` for any other."""
    formats = []
    for file in files:
        if (objection := objection_to_file(file)) is not None:
            raise InvalidCommand(f"{file} cannot be imported: {objection}. Nothing was stored.")
        format = given or format_named(file.name) or (format_of(file) if file.is_file() else None)
        if format is None:
            raise InvalidCommand(f"The format of {file.name} is not clear from its name or content: use --format.")
        if (objection := objection_to_text(file, format)) is not None:
            raise InvalidCommand(f"{file} cannot be imported: {objection}. Nothing was stored.")
        formats.append(format)
    for file, format in zip(files, formats, strict=True):
        if format == "ndjson" and file.is_file():
            try:
                check_exports(file, into)
            except (Conflict, InvalidDocument) as refused:
                raise InvalidCommand(f"{file}: {str(refused).removesuffix('.')}. Nothing was stored.") from None
    return formats


def _check_rejects(rejects: Path, files: Sequence[Path], formats: Sequence[Format], into: Into) -> None:
    """Refuse a file of rejects that cannot be made, or would hold a mixture of formats or headers."""
    for file in (rejects, reasons_of(rejects)):
        if file.exists():
            raise InvalidCommand(f"{file} exists already and is not overwritten.")
    if (objection := objection_to_new_file(rejects)) is not None:
        raise InvalidCommand(f"{rejects} cannot be written: {objection}. Nothing was stored.")
    headers = {_header(file, into) for file in files} if set(formats) == {"csv"} and len(files) > 1 else set()
    if len(set(formats)) > 1 or len(headers) > 1:
        raise InvalidCommand(
            "Files of different formats, and tables with different headers, need a file of rejects each."
        )


def _header(file: Path, into: Into) -> tuple[str, ...]:
    header = next(records(file, into.dialect.delimiter, into.longest), None)
    return () if header is None else tuple(header.cells)


def _steps(files: Sequence[Path], formats: Sequence[Format], into: Into) -> Iterator[tuple[Path, Step]]:
    for file, format in zip(files, formats, strict=True):
        before = FileState.of(file)
        for step in import_file(file, format, into):
            yield file, step
        if FileState.of(file) != before:
            last = Step()
            last.refuse("the file", None, InvalidDocument(CHANGED))
            yield file, last


@contextmanager
def _progress(
    files: Sequence[Path], steps: Iterator[tuple[Path, Step]], *, quiet: bool
) -> Iterator[Iterator[tuple[Path, Step]]]:
    """The same steps. At a terminal, a bar shows how many bytes were read, or of a pipe, how many items."""
    if quiet or not sys.stderr.isatty():
        yield steps
        return
    sizes = [file.stat().st_size for file in files if file.is_file()]
    sized = len(sizes) == len(files)
    length = {"length": sum(sizes)} if sized else {"iterable": iter(()), "show_pos": True}
    with typer.progressbar(**length, label="Importing", file=sys.stderr) as bar:

        def shown() -> Iterator[tuple[Path, Step]]:
            for file, step in steps:
                yield file, step
                bar.update(step.read if sized else step.counts.total())

        yield shown()


def _reason_line(file: Path, refusal: Refusal) -> str:
    faults = refusal.error.faults
    codes = ", ".join(map(_brief, faults[:3])) or refusal.error.detail or refusal.error.title()
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"{file.name}: {refusal.place}: {codes}{more}"


def _brief(fault: Fault) -> str:
    accepted = "" if fault.accepts is None else f" ({fault.accepts.words.rstrip('.')})"
    return f"{fault.pointer} {fault.code}{accepted}".strip()


def print_proposals(rehearsed: Database, study: str) -> None:
    """Print what the study could declare so that more of what was rehearsed would count."""
    proposed = proposed_in_rehearsal(rehearsed, study)
    if proposed:
        typer.echo("The study could declare, if it is true:")
    for each in proposed:
        value = "(to be chosen)" if each.value is None else json.dumps(each.value)
        typer.echo(f"  {each.declaration} {value}: met {each.times:,} time{'s' if each.times > 1 else ''}")


class Rejects:
    """Writes two new files: what was refused, and why. Each is created when there is something to write.

    Only their owner may read them, because they hold content of the imported files.
    """

    def __init__(self, file: Path, format: Format) -> None:
        self.file, self.reasons = file, reasons_of(file)
        self._format = format
        self._open = ExitStack()
        self._content: BinaryIO | None = None
        self._reasons: BinaryIO | None = None
        self._pieces = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._content is not None and self._pieces:
            self._content.write(_AROUND_PIECES.get(self._format, (b"",) * 3)[2])
        self._open.close()

    def add(self, file: Path, step: Step) -> None:
        """Write the refused pieces of one part of a file, and the reasons."""
        for refusal in step.refused:
            self._write_content(refusal.text, step.head)
            if self._reasons is None:
                self._reasons = self._open.enter_context(_new_private_file(self.reasons))
            self._reasons.write(json.dumps(reason(file, refusal)).encode() + b"\n")

    def _write_content(self, text: bytes | None, head: bytes) -> None:
        if text is None or not text.strip():
            return
        if self._content is None:
            self._content = self._open.enter_context(_new_private_file(self.file))
        before, between, _ = _AROUND_PIECES.get(self._format, (head, b"", b""))
        self._content.write(between if self._pieces else before)
        lines = self._format not in _AROUND_PIECES and not text.endswith(b"\n")
        self._content.write(text + (b"\n" if lines else b""))
        self._pieces += 1


def reasons_of(file: Path) -> Path:
    """The file with the reasons for the content of a file of rejects."""
    return file.with_name(file.name + ".faults.ndjson")


def reason(file: Path, refusal: Refusal) -> dict[str, object]:
    """Why a piece was refused: its place in the file, and the place and code of each fault in it."""
    error = refusal.error
    return {
        "file": file.name,
        "place": refusal.place,
        "problem": error.slug,
        "detail": error.detail or error.title(),
        "faults": [
            {"pointer": fault.pointer, "code": fault.code, "detail": fault.sentence}
            | ({} if fault.accepts is None else {"accepts": fault.accepts.model_dump(mode="json")})
            for fault in error.faults
        ],
    }


def _new_private_file(file: Path) -> BinaryIO:
    """A new file that only its owner may read."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def export_to(database: Database, study: str, output: Path | None, *, quiet: bool = False) -> None:
    """Write an export to the standard output or to a file, which appears when it is complete.

    Raises `NotFound`, and `InvalidCommand` where no file can be made.
    """
    head, lines = export_study(database, study)
    with _complete_file(output) as file:
        audit.note_command(database, "export", "everyone", study=study, revision=head.revision)
        seen = _write_export(file, head, lines)
    if not quiet:
        typer.echo(f"Study {study} at revision {head.revision}: {seen.count} lines.", err=True)


@contextmanager
def _complete_file(output: Path | None) -> Iterator[BinaryIO]:
    """A file that is at its place when the block ends without an error. After an error nothing of it is left."""
    if output is not None and (output.is_file() or not output.exists()):
        if (objection := objection_to_new_file(output)) is not None:
            raise InvalidCommand(f"{output} cannot be written: {objection}. Nothing was written.")
        unfinished = output.with_name(output.name + ".part")
        try:
            unfinished.unlink(missing_ok=True)
            with _new_private_file(unfinished) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
    elif output is not None and output.is_dir():
        raise InvalidCommand(f"{output} cannot be written: it is a directory. Nothing was written.")
    else:
        with TemporaryFile() as file, ExitStack() as opened:
            yield file
            file.seek(0)
            to = sys.stdout.buffer if output is None else opened.enter_context(output.open("wb"))
            shutil.copyfileobj(file, to)
            to.flush()


def _write_export(file: BinaryIO, head: ExportHead, lines: Iterable[bytes]) -> LinesSeen:
    """Write the first line of an export when the lines after it are known."""
    seen = LinesSeen()
    file.write(head.line())
    for line in lines:
        file.write(line)
        seen.add(line)
    file.seek(0)
    file.write(head.model_copy(update={"lines": seen.count, "digest": seen.digest}).line())
    return seen


def export_study(database: Database, study: str) -> tuple[ExportHead, Iterator[bytes]]:
    """The first line of an export of the latest revision of a study, without what follows from the others, and these:
    its timelines, in the order of the patients.

    A revision never changes, so all lines show one state, also when the export takes long. Only a person who is erased
    in the meantime is left out. Facts that were withdrawn or superseded are not exported. Raises `NotFound`.
    """
    with study_at(database, study) as found:
        head = ExportHead(study=study, revision=found.revision, pseudonyms=found.pseudonyms_made_with())
    at = AsOf(head.revision)
    return head, _timeline_lines(partial(study_at, database, study, at, though_erased=True))


def _timeline_lines(open_study: OpenStudy) -> Iterator[bytes]:
    for patient in _patient_ids(open_study):
        try:
            with open_study() as study:
                document = study.timeline(patient)
        except (Erased, NotFound):
            continue
        for part in _document_parts(document):
            yield json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _patient_ids(open_study: OpenStudy) -> Iterator[str]:
    after: str | None = None
    while True:
        with open_study() as study:
            page = study.patients(after=after, limit=PAGE)
        yield from (each.id for each in page)
        if len(page) < PAGE:
            return
        after = page[-1].id


def _document_parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document. One with very many facts is split: each part then has facts of one section only."""
    facts = {section: document.pop(section) for section in SECTIONS.values()}
    if sum(map(len, facts.values())) <= MOST_FACTS:
        yield document | {section: found for section, found in facts.items() if found}
        return
    yield document
    who = {"patient": {"id": document["patient"]["id"]}}
    for section, found in facts.items():
        for first in range(0, len(found), MOST_FACTS):
            yield who | {section: found[first : first + MOST_FACTS]}
