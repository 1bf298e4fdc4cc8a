"""The commands `import` and `export`: what they do and what they print.

The file holds, in this order: `import_files` with what it prints, also of a rehearsal; `Rejects`, which writes what was
refused into a new file; and `export_to` with `export_study`, which writes the timelines of a study.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import typer

from app.bulk.file_formats import records
from app.bulk.import_files import Into, Refusal, Step, import_file
from app.bulk.table_options import InvalidCommand
from app.errors import Erased, Fault, NotFound
from app.readers.recognition import Format, format_of
from app.store import audit
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.submission.intake import proposed_in_rehearsal
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import Disposition

MOST_SHOWN = 20
"""How many refusals are printed. The file of rejects has all of them."""
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


def import_files(files: Sequence[Path], given: Format | None, into: Into, rejects: Path | None) -> bool:
    """Import files and print what was stored and what was refused. `True` where all of it was stored.

    Raises `InvalidCommand` before anything is stored, and the errors that `import_file` raises.
    """
    formats = [given or format_of(file) for file in files]
    known = [format for format in formats if format is not None]
    if len(known) < len(files):
        unknown = files[formats.index(None)]
        raise InvalidCommand(f"The format of {unknown.name} is not clear from its name or content: use --format.")
    if rejects is not None:
        _check_rejects(rejects, files, known, into)
    counts, facts, left_alone, count_refused = Counter[str](), Counter[Disposition](), Counter[str](), 0
    with ExitStack() as opened:
        refused = None if rejects is None else opened.enter_context(Rejects(rejects, known[0]))
        for file, step in opened.enter_context(_progress(files, _steps(files, known, into))):
            counts += step.counts
            facts += step.facts
            left_alone += step.left_alone
            if refused is not None:
                refused.add(file, step)
            for refusal in step.refused[: max(MOST_SHOWN - count_refused, 0)]:
                typer.echo(_reason_line(file, refusal), err=True)
            count_refused += len(step.refused)
    if count_refused > MOST_SHOWN:
        typer.echo(
            f"... and {count_refused - MOST_SHOWN} more{'' if rejects else ': use --rejects to write them to a file'}.",
            err=True,
        )
    typer.echo(_summary(len(files), counts, facts, left_alone))
    if count_refused and rejects is not None:
        why = f"What was refused: {rejects}; why" if rejects.exists() else "Why it was refused"
        typer.echo(f"{why}: {reasons_of(rejects)}")
    return not count_refused


def _check_rejects(rejects: Path, files: Sequence[Path], formats: Sequence[Format], into: Into) -> None:
    """Refuse a file of rejects that would overwrite a file, or would hold a mixture of formats or headers."""
    for file in (rejects, reasons_of(rejects)):
        if file.exists():
            raise InvalidCommand(f"{file} exists already and is not overwritten.")
    headers = {_header(file, into) for file in files} if set(formats) == {"csv"} else set()
    if len(set(formats)) > 1 or len(headers) > 1:
        raise InvalidCommand(
            "Files of different formats, and tables with different headers, need a file of rejects each."
        )


def _header(file: Path, into: Into) -> tuple[str, ...]:
    header = next(records(file, into.dialect.delimiter, into.longest), None)
    return () if header is None else tuple(header.cells)


def _steps(files: Sequence[Path], formats: Sequence[Format], into: Into) -> Iterator[tuple[Path, Step]]:
    for file, format in zip(files, formats, strict=True):
        for step in import_file(file, format, into):
            yield file, step


@contextmanager
def _progress(files: Sequence[Path], steps: Iterator[tuple[Path, Step]]) -> Iterator[Iterator[tuple[Path, Step]]]:
    """The same steps. At a terminal, a bar shows how many bytes were read."""
    if not sys.stderr.isatty():
        yield steps
        return
    total = sum(file.stat().st_size for file in files)
    with typer.progressbar(length=total, label="Importing", file=sys.stderr) as bar:

        def shown() -> Iterator[tuple[Path, Step]]:
            for file, step in steps:
                yield file, step
                bar.update(step.read)

        yield shown()


def _reason_line(file: Path, refusal: Refusal) -> str:
    faults = refusal.error.faults
    codes = ", ".join(map(_brief, faults[:3])) or refusal.error.detail or refusal.error.title()
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"{file.name}: {refusal.place}: {codes}{more}"


def _brief(fault: Fault) -> str:
    accepted = "" if fault.accepts is None else f" ({fault.accepts.words.rstrip('.')})"
    return f"{fault.pointer} {fault.code}{accepted}".strip()


def _summary(files: int, counts: Counter[str], facts: Counter[Disposition], left_alone: Counter[str]) -> str:
    stored = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status]) or "nothing to store"
    alone = ", ".join(f"{count:,} {why}" for why, count in sorted(left_alone.items()))
    kept = ", ".join(f"{facts[each]:,} {each.replace('_', ' ')}" for each in Disposition if facts[each])
    sums = f"{f'; facts: {kept}' if kept else ''}{f'; left alone: {alone}' if alone else ''}"
    return f"{files} file{'s' if files > 1 else ''}: {stored}{sums}."


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


def export_to(database: Database, study: str, output: Path | None) -> None:
    """Write the timelines of a study to the standard output, or to a file, which appears when it is complete."""
    revision, lines = export_study(database, study)
    audit.note_command(database, "export", "everyone", study=study, revision=revision)
    if output is None:
        count = _write_lines(lines, sys.stdout.buffer)
    else:
        unfinished = output.with_name(output.name + ".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            count = _write_lines(lines, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
    typer.echo(f"Study {study} at revision {revision}: {count} lines.", err=True)


def _write_lines(lines: Iterable[bytes], to: BinaryIO) -> int:
    count = 0
    for line in lines:
        to.write(line)
        count += 1
    to.flush()
    return count


def export_study(database: Database, study: str) -> tuple[int, Iterator[bytes]]:
    """The number of the latest revision of a study, and its timelines as lines, in the order of the patients.

    A revision never changes, so all lines show one state, also when the export takes long. Only a person who is erased
    in the meantime is left out. Facts that were withdrawn or superseded are not exported. Raises `NotFound`.
    """
    with study_at(database, study) as found:
        revision = found.revision
    return revision, _timeline_lines(partial(study_at, database, study, AsOf(revision), though_erased=True))


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
