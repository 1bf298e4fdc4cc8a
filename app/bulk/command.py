"""What the commands `import` and `export` do, and what they say of it."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from app.bulk.exports import export_study
from app.bulk.file_formats import Format, format_of, records
from app.bulk.import_files import import_file
from app.bulk.rejects import Rejects, reason, reasons_of
from app.bulk.steps import Into, Step
from app.store.engine import Database

SHOWN = 20
"""Refusals that are shown at the terminal; a file of rejects has all of them."""
IN_ORDER = ("created", "changed", "unchanged", "stale", "skipped", "rejected")


class Unusable(Exception):
    """The command cannot be carried out as it was given; nothing was done."""


def import_files(files: Sequence[Path], given: Format | None, into: Into, rejects: Path | None) -> bool:
    """Import files and print what was stored and what was refused; whether all of it was stored.

    Raises `Unusable` before anything is stored, and what `import_file` does.
    """
    formats = [given or format_of(file) for file in files]
    known = [format for format in formats if format is not None]
    if len(known) < len(files):
        unknown = files[formats.index(None)]
        raise Unusable(f"The format of {unknown.name} cannot be told from its name or its content: name it (--format).")
    if rejects is not None:
        _check_rejects(rejects, files, known, into)
    counts, left_alone, count_refused = Counter[str](), Counter[str](), 0
    with ExitStack() as opened:
        refused = None if rejects is None else opened.enter_context(Rejects(rejects, known[0]))
        for file, step in opened.enter_context(_progress(files, _steps(files, known, into))):
            counts += step.counts
            left_alone += step.left_alone
            if refused is not None:
                refused.add(file, step)
            for refusal in step.refused[: max(SHOWN - count_refused, 0)]:
                typer.echo(_line(reason(file, refusal)), err=True)
            count_refused += len(step.refused)
    if count_refused > SHOWN:
        typer.echo(
            f"... and {count_refused - SHOWN} more{'' if rejects else ': name a file for them (--rejects)'}.", err=True
        )
    typer.echo(_summary(len(files), counts, left_alone))
    if count_refused and rejects is not None:
        typer.echo(f"What was refused: {rejects}; why: {reasons_of(rejects)}")
    return not count_refused


def export_to(database: Database, study: str, output: Path | None) -> None:
    """Write the timelines of a study, to the standard output or to a file, which is there once it is complete."""
    revision, lines = export_study(database, study)
    if output is None:
        count = _write(lines, sys.stdout.buffer)
    else:
        unfinished = output.with_name(output.name + ".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            count = _write(lines, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
    typer.echo(f"Study {study} at revision {revision}: {count} lines.", err=True)


def _write(lines: Iterable[bytes], to: BinaryIO) -> int:
    count = 0
    for line in lines:
        to.write(line)
        count += 1
    to.flush()
    return count


def _check_rejects(rejects: Path, files: Sequence[Path], formats: Sequence[Format], into: Into) -> None:
    """Refuse a file of rejects that would overwrite something or would be no file of any format."""
    for file in (rejects, reasons_of(rejects)):
        if file.exists():
            raise Unusable(f"{file} is there already and is not overwritten.")
    headers = {_header(file, into) for file in files} if set(formats) == {"csv"} else set()
    if len(set(formats)) > 1 or len(headers) > 1:
        raise Unusable("Files of several formats, or tables with several headers, need a file of rejects each.")


def _header(file: Path, into: Into) -> tuple[str, ...]:
    header = next(records(file, into.dialect.delimiter, into.longest), None)
    return () if header is None else tuple(header.cells)


def _steps(files: Sequence[Path], formats: Sequence[Format], into: Into) -> Iterator[tuple[Path, Step]]:
    for file, format in zip(files, formats, strict=True):
        for step in import_file(file, format, into):
            yield file, step


@contextmanager
def _progress(files: Sequence[Path], steps: Iterator[tuple[Path, Step]]) -> Iterator[Iterator[tuple[Path, Step]]]:
    """The same steps, with a bar that shows how many bytes were read where somebody looks at one."""
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


def _line(why: dict[str, object]) -> str:
    faults = why["faults"]
    assert isinstance(faults, list)  # noqa: S101 - for the type checker
    codes = ", ".join(f"{fault['pointer']} {fault['code']}".strip() for fault in faults[:3]) or why["detail"]
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"{why['file']}: {why['place']}: {codes}{more}"


def _summary(files: int, counts: Counter[str], left_alone: Counter[str]) -> str:
    stored = ", ".join(f"{counts[status]:,} {status}" for status in IN_ORDER if counts[status]) or "nothing to store"
    alone = ", ".join(f"{count:,} {why}" for why, count in sorted(left_alone.items()))
    return f"{files} file{'s' if files > 1 else ''}: {stored}{f'; left alone: {alone}' if alone else ''}."
