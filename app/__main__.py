"""The command line: `python -m app COMMAND`. Without a command it serves; `--help` lists the commands."""

import gc
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from pydantic import ValidationError

from app import SOFTWARE
from app import demo as demonstration
from app.access.callers import Scope
from app.bulk.endings import Commands, Interruption
from app.settings import PREFIX, Settings, unknown_variables

if TYPE_CHECKING:
    from app.access.keys import ApiKeys
    from app.hl7v2.mllp_command import SentLetter
    from app.store.engine import Database

DAY = 86_400_000_000
NO_ADDRESS = (
    "MYORESPONSE_DATABASE_URL is not a usable address of a database. Examples: sqlite:///file.db (not in memory), "
    "postgresql://user@host/name."
)

cli = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False)
keys = typer.Typer(help="API keys: make, list, rotate and revoke them.")
cli.add_typer(keys, name="keys")


def print_version(asked: bool) -> None:
    """Print the version and end, if it is asked for."""
    if asked:
        print(SOFTWARE)
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def choose(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Treatment response in inflammatory myopathy. The settings are environment variables MYORESPONSE_*."""
    if context.invoked_subcommand is None:
        serve()


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of MYORESPONSE_HOST.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port, instead of MYORESPONSE_PORT; 0 selects a free one."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Number of processes, instead of MYORESPONSE_WORKERS.")
    ] = None,
) -> None:
    """Serve the API until stopped. Open requests are finished first."""
    from app.readers.gc_pause import gc_paused

    with gc_paused():  # what is loaded stays
        settings = read_settings(host=host, port=port, workers=workers)
        with database_of(settings) as database:
            if settings.asks_for_keys and not settings.token_issuer:
                print_first_key(database)

    if settings.workers > 1:
        serve_with_workers(settings)
        return

    with gc_paused():
        from app.api import server
        from app.main import create_app

        app = create_app(settings)
        gc.freeze()  # else the collector would examine all of it at once, and find next to nothing
    server.run(app, settings)


def serve_with_workers(settings: Settings) -> None:
    """Serve with several processes. The process ends with one line if the address cannot be used."""
    from app.api.workers import run_workers
    from app.main import create_app

    try:
        code = run_workers(create_app, settings)
    except OSError as error:
        stop(f"The service cannot listen at {settings.host}, port {settings.port}: {os.strerror(error.errno or 0)}.", 3)
    raise typer.Exit(code)


def print_first_key(database: "Database") -> None:
    """Make a key with every scope if there was never a key, and print it. It cannot be printed again."""
    from app.access.keys import ApiKeys

    first = ApiKeys(database).create_first(now_in_microseconds())
    if first is not None:
        print(
            f"The first API key, with every scope. Keep it, it is shown only now:\n\n  KEY={first.text}\n", flush=True
        )


@cli.command()
def migrate() -> None:
    """Create the tables of the database, or change them to those of this version."""
    settings = read_settings()

    from app.store import migrations

    with database_errors_explained():
        migrations.upgrade(settings.database_url)


@cli.command()
def demo(
    file: Annotated[Path, typer.Argument(help="A JSON array of timelines.")] = demonstration.TIMELINES,
) -> None:
    """Load the demonstration study. Data that exist already are not changed."""
    from app.protocol.presets import SEED_2008
    from app.readers.json_timelines import read_array
    from app.store import audit, ledger, studies
    from app.timeline.times import latest_acceptable, microseconds

    now = datetime.now(UTC)
    items = read_array(file.read_bytes(), latest_acceptable(now))
    if unread := [item.index for item in items if item.error is not None]:
        stop(f"Nothing was loaded: the timelines {unread} of the file have faults.", 2)
    histories = [item.history for item in items if item.history is not None]
    definition = studies.StudyDeclaration(demonstration.NAME, SEED_2008, test=True)
    with audit.command("demo"), database_of(read_settings()) as database, database.writing() as connection:
        at = microseconds(now)
        if not studies.is_known(connection, demonstration.STUDY):
            studies.put_study(connection, demonstration.STUDY, definition, client=None, received_at=at)
        outcomes = ledger.submit_each(
            connection, demonstration.STUDY, histories, format="native-json", client=None, received_at=at
        )
    stored = sum(isinstance(outcome, ledger.Outcome) and outcome.revision is not None for outcome in outcomes)
    print(f"Study {demonstration.STUDY}: {len(items)} timelines read, {stored} stored.")


@cli.command()
def verify(
    study: Annotated[str | None, typer.Option(help="Only this study, and what all studies share.")] = None,
) -> None:
    """Verify every ledger and what is noted of it outside the database. The exit code is 1 if anything is broken."""
    from app.errors import NotFound
    from app.store.verification import verify_database

    broken = False
    with database_of(read_settings()) as database, database.reading() as connection:
        try:
            for part in verify_database(connection, database.heads, study):
                broken |= bool(part.faults)
                more = f" and {len(part.faults) - 1} more faults" if len(part.faults) > 1 else ""
                result = (
                    f"BROKEN {part.faults[0]}{more}" if part.faults else f"whole{part.extent and ': ' + part.extent}"
                )
                print(f"{part.subject}: {result}", flush=True)
        except NotFound as reason:
            stop(str(reason), 2)
    raise typer.Exit(1 if broken else 0)


@cli.command()
def openapi() -> None:
    """Print the description of the API."""
    from app.http.openapi import openapi_yaml
    from app.main import create_app

    sys.stdout.write(openapi_yaml(create_app(Settings.model_construct())))


@cli.command()
def report(
    study: Annotated[str, typer.Argument(help="The study.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .pdf, .html or .md.")],
    revision: Annotated[int | None, typer.Option(min=0, help="Revision, instead of the latest one.")] = None,
    address: Annotated[
        str, typer.Option(help="Address of the service, which the report prints beside each figure.")
    ] = "http://localhost:8000",
) -> None:
    """Print the report of a study into a file."""
    import asyncio

    from app.http.representations import read_here
    from app.main import create_app

    if output.suffix not in {".pdf", ".html", ".md"}:
        stop("The name of the file ends with .pdf, .html or .md.", 2)
    own = {"allow_unauthenticated": True, "require_keys": False, "compute_workers": 0}
    app = create_app(read_settings().model_copy(update=own))
    query = [] if revision is None else [("revision", str(revision))]
    found = asyncio.run(read_here(app, address.rstrip("/"), f"/v1/studies/{study}/report{output.suffix}", query))
    if found.status != 200:
        problem = found.json()
        stop(problem.get("detail") or problem["title"], 2)
    output.write_bytes(found.body)
    print(f"{output}: {len(found.body):,} bytes")


@cli.command()
def mllp(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free one.")] = None,
    study: Annotated[str | None, typer.Option(help="Study that the messages go to.")] = None,
) -> None:
    """Receive HL7 v2 messages over MLLP until stopped. Complete messages are stored and acknowledged first."""
    settings = read_settings()

    from app.hl7v2 import mllp_command
    from app.hl7v2.mllp_listener import objection_to_exposure
    from app.log import log_to_stdout
    from app.store import audit

    if objection := objection_to_exposure(settings):
        stop(objection, 2)
    target_study = study or settings.mllp_study or stop("Name the study: --study or MYORESPONSE_MLLP_STUDY.", 2)
    with database_of(settings) as database:
        log_to_stdout(settings.log)
        try:
            mllp_command.listen(settings, database, target_study, settings.mllp_port if port is None else port)
        except mllp_command.CannotListen as reason:
            audit.note_command(database, "mllp", study=target_study, status=audit.REFUSED)
            stop(str(reason), 2)


@cli.command()
def dead_letters(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of dead letters; without them all are listed.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send these files again; accepted ones are removed.")] = False,
    read: Annotated[bool, typer.Option("--read", help="Print the messages of these files, decrypted.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete these files, each with its note.")] = False,
    study: Annotated[str | None, typer.Option(help="Study of files without a note.")] = None,
) -> None:
    """List the messages that were refused over MLLP, print them, send them again, or delete them."""
    settings = read_settings()

    from app.hl7v2 import mllp_command

    if send + read + delete > 1:
        stop("Use one of --send, --read and --delete.", 2)
    if (send or read or delete) and not files:
        stop("Name the files of the letters.", 2)
    named = files or []
    with database_of(settings) as database:
        try:
            if send:
                _send_letters(
                    mllp_command.send_letters(settings, database, named, study or settings.mllp_study or None)
                )
            elif read:
                for message in mllp_command.read_letters(settings, database, named):
                    sys.stdout.buffer.write(message if message.endswith((b"\r", b"\n")) else message + b"\r")
            else:
                told = mllp_command.delete_letters if delete else mllp_command.list_letters
                print("\n".join(told(settings, database, named)) or f"No dead letters in {settings.dead_letters}.")
        except mllp_command.CannotListen as reason:
            stop(str(reason), 1)
        except OSError as error:
            stop(f"The directory {settings.dead_letters} cannot be used: {error.strerror}.", 1)


def _send_letters(outcomes: "Iterator[SentLetter]") -> None:
    """Print the outcome of each letter that is sent again."""
    sent = failed = 0
    for outcome in outcomes:
        print(f"{outcome.file}  {outcome.words}")
        sent, failed = sent + 1, failed + outcome.failed
    if failed:
        stop(f"{failed} of {sent} were not accepted; their files remain.", 1)


@cli.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files of any format and size, or pipes.")],
    study: Annotated[str, typer.Option(help="Study that their content goes to.")],
    format: Annotated[
        Literal["auto", "timelines", "ndjson", "csv", "xlsx", "fhir", "hl7v2"],
        typer.Option(help="Format of all files; `auto` detects it from name and content."),
    ] = "auto",
    rejects: Annotated[
        Path | None,
        typer.Option(help="New file for the refused parts, to be corrected; a second file gives the reasons."),
    ] = None,
    delimiter: Annotated[Literal[",", ";", "tab"], typer.Option(help="Separator of the cells of a table.")] = ",",
    decimal: Annotated[Literal[".", ","], typer.Option(help="The decimal mark of a table.")] = ".",
    missing: Annotated[str, typer.Option(help="Words for a missing value in a table, comma separated.")] = "",
    dates: Annotated[str, typer.Option(help="Form of the dates of a table, such as DD.MM.YYYY.")] = "YYYY-MM-DD",
    charset: Annotated[str, typer.Option(help="Character set of a table, such as windows-1252.")] = "UTF-8",
    time_zone: Annotated[str, typer.Option(help="Time zone of a table's times, if not that of the study.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of all tables, such as labs; else each header shows it.")] = "",
    columns: Annotated[str, typer.Option(help="Columns with other names: `Pat. No.:patient,Comment:`.")] = "",
    constants: Annotated[str, typer.Option(help="Fields that are the same in all rows: `unit:U/L`.")] = "",
    mapping: Annotated[str, typer.Option(help="The layout of all tables, as the study declares it.")] = "",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Print the same and what the study could declare; store nothing.")
    ] = False,
    moved_from: Annotated[
        str | None, typer.Option(help="Another study whose export is to be added to this one.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print refusals and errors only.")] = False,
) -> None:
    """Store the content of files, as the API does. It may be repeated. The exit code is 1 if anything was refused or
    set aside.
    """
    settings = read_settings()

    from app.bulk import command
    from app.bulk.import_files import Into
    from app.bulk.table_options import InvalidCommand, TableOptions
    from app.errors import Conflict, NotFound
    from app.fhir.own_address import OwnAddress
    from app.store import audit
    from app.store.rehearsal import rehearsal

    written = (delimiter, decimal, missing, dates, charset, time_zone)
    tables = TableOptions(*written, kind, columns, constants, mapping)
    with audit.command("import"), database_of(settings) as database, Interruption(at_once=rehearse) as signals:
        try:
            with rehearsal(database, study) if rehearse else nullcontext(database) as target:
                declared = tables.declared(target, study)
                own = OwnAddress(study, settings.root_path, names=settings.public_names)
                into = Into(target, study, settings.secret, settings.max_body_bytes, *declared, moved_from, own)
                known = None if format == "auto" else format
                complete = command.import_files(files, known, into, rejects, signals, quiet=quiet)
                if rehearse and not quiet:
                    command.print_proposals(target, study)
        except (InvalidCommand, NotFound, Conflict) as reason:
            stop(str(reason), 2)
        except command.Stopped as stopped:
            stop(str(stopped), stopped.code)
    raise typer.Exit(0 if complete else 1)


@cli.command()
def export(
    study: Annotated[str, typer.Option(help="Study that is written.")],
    format: Annotated[
        Literal["ndjson", "parquet"],
        typer.Option(help="`ndjson`: one timeline on each line, as `import` reads it. `parquet`: files for `derive`."),
    ] = "ndjson",
    output: Annotated[
        str | None,
        typer.Option(help="File to write, without it the standard output; for Parquet a new folder or its URL."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Write the current timelines of a study, or the columns that analyses read."""
    settings = read_settings()

    from app.bulk import command
    from app.bulk.table_options import InvalidCommand
    from app.errors import NotFound

    with database_of(settings) as database, Interruption(at_once=True):
        try:
            if format == "ndjson":
                command.export_to(database, study, None if output is None else Path(output), quiet=quiet)
                return
            with unusable_files_explained():
                from app.bulk.study_report import export_files

                made = export_files(database, study, output or stop("Name the folder: --output.", 2))
        except (InvalidCommand, NotFound) as reason:
            stop(str(reason), 2)
    if not quiet:
        print(
            f"{output}: {sum(made.patients):,} patients in {len(made.patients)} files, revision {made.origin.revision}"
        )


@cli.command()
def derive(
    input: Annotated[str, typer.Option(help="The folder, or its URL, that `export --format parquet` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the report, as JSON.")],
    engine: Annotated[Literal["local", "spark"], typer.Option(help="Who derives: this process, or Spark.")] = "local",
    master: Annotated[
        str | None,
        typer.Option(
            help="Address of Spark: `spark://host:7077`, `yarn`, `local[2]`; without it that of spark-submit."
        ),
    ] = None,
    conf: Annotated[
        list[str] | None, typer.Option(help="A setting of Spark, as `spark.executor.memory=2g`; may be repeated.")
    ] = None,
) -> None:
    """Write the report of an exported study, the same bytes with every engine."""
    settings = dict(each.partition("=")[::2] for each in conf or ())
    with unusable_files_explained():
        from app.bulk.study_report import report_here, report_on_spark

        found = report_here(input) if engine == "local" else report_on_spark(input, master, settings)
    output.write_bytes(found)
    print(f"{output}: {len(found):,} bytes")


@contextmanager
def unusable_files_explained() -> Iterator[None]:
    """End with one line if files of a study, or an engine, cannot be used."""
    from app.timeline.cohort_batches import can_be_made

    if not can_be_made():
        stop("Parquet needs pyarrow, which is not installed: pip install 'myoresponse[parquet]'.", 2)

    from app.bulk.spark_engine import NoEngine
    from app.bulk.study_files import UnusableStudyFiles

    try:
        yield
    except NoEngine as missing:
        stop(f"{missing}.", 2)
    except UnusableStudyFiles as unusable:
        stop(f"Nothing was done: {unusable}.", 1)


@cli.command()
def simulate(
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="Number of patients.")] = 40,
    effect: Annotated[float, typer.Option(min=0, max=10, help="Size of the effect; 0: nothing changes.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Where the random numbers start.")] = 1,
    visits: Annotated[str | None, typer.Option(help="Weeks of the visits, comma separated: `-4,0,1,2,4,8`.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the timelines.")] = None,
    truth: Annotated[Path | None, typer.Option(help="File for the true values, as JSON.")] = None,
) -> None:
    """Write the timelines of invented patients whose true values are known, one in each line. The same options give the
    same bytes.
    """
    import json

    from app.demo import simulation

    try:
        weeks = simulation.WEEKS if visits is None else tuple(int(week) for week in visits.split(","))
        design = simulation.Design(n, effect, seed, weeks)
    except ValueError:
        stop("--visits: whole weeks that ascend and contain 0, such as -4,0,1,2,4,8.", 2)
    text = "".join(f"{line}\n" for line in simulation.lines(design))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    if truth is not None:
        truth.write_text(json.dumps(simulation.truth(design), indent=2) + "\n", encoding="utf-8")


@cli.command()
def backup(file: Annotated[Path, typer.Argument(help="New file for the backup; it contains patients' data.")]) -> None:
    """Write the whole database to a file while the service runs. The secrets are not in it: keep them elsewhere."""
    settings, began = read_settings(), time.monotonic()

    from app.store.backup import UnusableBackup, back_up

    with database_of(settings) as database:
        try:
            made = back_up(database, settings.database_url, file, settings.secret_path)
        except UnusableBackup as reason:
            stop(f"No backup was made: {reason}.", 2)
    print(f"{file}: {made.words}, in {time.monotonic() - began:.1f} s.")


@cli.command()
def restore(file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]) -> None:
    """Bring a backup back into an empty database, and verify its ledgers. The exit code is 1 if one is broken."""
    settings, began = read_settings(), time.monotonic()

    from app.store import audit
    from app.store.backup import UnusableBackup, verified
    from app.store.backup import restore as bring_back
    from app.store.erasure_list import erased_since
    from app.store.tables import SCHEMA_REVISION

    with database_errors_explained():
        try:
            made = bring_back(file, settings.database_url, settings.secret_path, settings.secret)
        except UnusableBackup as reason:
            stop(f"Nothing was restored: {reason}.", 2)
    print(f"Restored {made.words}, in {time.monotonic() - began:.1f} s.")
    if made.tables != SCHEMA_REVISION:
        print("Its tables are those of an earlier version: run python -m app migrate.")
        return
    with database_of(settings) as database:
        with database.reading() as connection:
            faults, later = verified(connection, database.heads, made)
            again = erased_since(connection, database.heads) if database.heads is not None else []
        audit.note_command(database, "restore")
    if later:
        print("\n".join([f"Noted in {settings.heads_path} after the backup, and not in it:", *later]))
    if again:
        print("\n".join(["Erased after the backup, and in it. Run python -m app erase-again:", *map(" ".join, again)]))
    print("\n".join(faults) or f"Every ledger is whole, after {time.monotonic() - began:.1f} s.")
    raise typer.Exit(1 if faults else 0)


@cli.command()
def erase_again() -> None:
    """Erase everybody who was erased after the backup from which the database was restored, and name them."""
    from app.access.callers import COMMAND
    from app.store import audit, erasure
    from app.store.erasure_list import complete_erasure_list, erased_since
    from app.submission.dead_letters import forget_erased, letters_of

    settings = read_settings()
    with audit.command("erase-again"), database_of(settings) as database:
        heads = database.heads
        with database.reading() as connection:
            again = erased_since(connection, heads) if heads is not None else []
        for study, patient in again:
            with database.writing() as transaction:
                erasure.erase(transaction, study, patient, client=COMMAND, received_at=now_in_microseconds())
            print(f"{study} {patient}", flush=True)
        letters = letters_of(settings, database)
        forget_erased(letters, database, letters.studies())
        if again:
            complete_erasure_list(database)
            if not database.scrub():
                print("Their bytes stay in the files of the database until nobody reads it: start the service again.")
    print(f"Erased again: {len(again)}.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Who or what uses the key, for the list of keys.")],
    scope: Annotated[list[Scope], typer.Option(help="What it allows; give it once for each scope.")],
    study: Annotated[list[str] | None, typer.Option(help="A study it is good for; without one, all.")] = None,
    days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0: never.")] = 365,
) -> None:
    """Make a key and print it. It is stored as a hash and cannot be printed again."""
    with api_keys_of(read_settings()) as known:
        now = now_in_microseconds()
        expires_at = now + days * DAY if days else None
        new = known.create(name, scope, study or None, now=now, expires_at=expires_at)
    print(new.text)


@keys.command("list")
def list_keys() -> None:
    """A line for each key: prefix, state, scopes, studies, times and name."""
    from app.access.keys import key_line

    with api_keys_of(read_settings()) as known:
        now = now_in_microseconds()
        print("\n".join(key_line(key, now) for key in known.listed(now)) or "There are no keys.")


@keys.command("rotate")
def rotate_key(
    prefix: Annotated[str, typer.Argument(help="The eight characters of the key after `myo_`.")],
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old key stays valid.")] = 24,
) -> None:
    """Make a key that allows the same and print it. The old key stays valid for the overlap."""
    with api_keys_of(read_settings()) as known:
        print(known.rotate(prefix, now=now_in_microseconds(), overlap=round(overlap_hours * DAY / 24)).text)


@keys.command("revoke")
def revoke_key(prefix: Annotated[str, typer.Argument(help="The eight characters of the key after `myo_`.")]) -> None:
    """Refuse a key from now on."""
    with api_keys_of(read_settings()) as known:
        known.revoke(prefix, now_in_microseconds())
    print(f"Key {prefix} is revoked.")


@contextmanager
def api_keys_of(settings: Settings) -> Iterator["ApiKeys"]:
    """The keys of the database of the settings. The process ends with one line if what is asked cannot be done."""
    from app.access.keys import ApiKeys
    from app.errors import Conflict, NotFound

    with database_of(settings) as database:
        try:
            yield ApiKeys(database)
        except (Conflict, NotFound) as reason:
            stop(str(reason), 2)


def now_in_microseconds() -> int:
    """This instant."""
    from app.timeline.times import microseconds

    return microseconds(datetime.now(UTC))


def read_settings(**options: object) -> Settings:
    """The settings, replaced by the options that are given. If some cannot be used, the process ends with one line that
    names them all.
    """
    wrong = unknown_variables(os.environ)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as invalid:
        wrong += [f"{_variable(each['loc'])}{each['msg'].removeprefix('Value error, ')}" for each in invalid.errors()]
    if wrong:
        stop(f"Some settings cannot be used. {'; '.join(wrong)}.", 2)
    return settings


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable of a setting with a colon; nothing where several settings contradict each other."""
    return f"{PREFIX}{'_'.join(map(str, place)).upper()}: " if place else ""


@contextmanager
def database_of(settings: Settings) -> Iterator["Database"]:
    """The database of the settings. The process ends if its tables or its pseudonyms do not fit version and secret."""
    from app.store.engine import Database
    from app.store.ledger_keys import LedgerKeys
    from app.store.opening import open_ledger
    from app.store.segments import Segments
    from app.store.tables import SCHEMA_REVISION
    from app.submission.feeds import objection_to_secret

    with database_errors_explained():
        keys = LedgerKeys(settings.secret_path)
        database = Database(settings.database_url, keys=keys)
        if settings.segments_path is not None:
            database.segments = Segments(settings.segments_path, keys)
        try:
            if (revision := database.revision()) != SCHEMA_REVISION:
                from app.store.migrations import objection_to_tables

                stop(f"The database cannot be used: {objection_to_tables(revision)}.", 3)
            objection = open_ledger(database, settings.heads_path)
            if objection is None:
                with database.reading() as connection:
                    objection = objection_to_secret(connection, settings.secret)
            if objection is not None:
                stop(objection, 3)
            yield database
        finally:
            database.dispose()


@contextmanager
def database_errors_explained() -> Iterator[None]:
    """End with one line if the database cannot be used. Its address may contain a password and is never repeated."""
    from app.errors import NotInstalled, ServiceError
    from app.store.engine import UnusableAddress
    from app.store.failures import DatabaseFailure

    logging.getLogger("myoresponse").addHandler(logging.NullHandler())  # a command that keeps no log says it once
    try:
        yield
    except UnusableAddress:
        stop(NO_ADDRESS, 2)
    except NotInstalled as missing:
        stop(f"{missing}.", 2)
    except ServiceError as error:
        why = error.__cause__ if isinstance(error.__cause__, DatabaseFailure) else error
        stop(f"The database cannot be used: {why}.", 3)


def stop(why: str, code: int) -> NoReturn:
    """End the process with one line that gives the reason."""
    typer.echo(why, err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    cli(prog_name="python -m app")
