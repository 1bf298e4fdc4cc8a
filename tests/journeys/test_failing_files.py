"""A command whose file, disk or pipe fails, or that is stopped: one line, an exit code, and nothing is left behind."""

import gzip
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from app.store.engine import Database
from tests.api.test_server import ROOT, environment
from tests.journeys.command_line import CK, Place, timeline
from tests.journeys.conftest import service
from tests.readers.tables import table

pytestmark = pytest.mark.slow
MANY = 2_000
AGAIN = "Run the command again: what is stored is not stored twice."
STOPPED_WHILE_RESET = """
import os, signal, sqlalchemy
from app.bulk.endings import Interruption

engine = sqlalchemy.create_engine("sqlite:///x.db")
with Interruption(at_once=True), engine.connect():
    sqlalchemy.event.listen(engine, "reset", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
"""


@pytest.fixture
def here(tmp_path):
    """A service with an empty study, and a folder for the temporary files of commands."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        (tmp_path / "temporary").mkdir()
        yield Place(client, url, tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The same, of which nothing is changed."""
    folder = tmp_path_factory.mktemp("untouched")
    with service(f"sqlite:///{folder / 'x.db'}") as client:
        (folder / "temporary").mkdir()
        place = Place(client, f"sqlite:///{folder / 'x.db'}", folder)
        yield place
        assert stored(place) == 0


def begun(place: Place, *words: object, **more) -> subprocess.Popen[bytes]:
    variables = environment(place.url) | {"TMPDIR": str(place.folder / "temporary"), "TERM": "xterm"}
    variables.pop("PYTHONUNBUFFERED")
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    how = streams | {"preexec_fn": heeding} | more
    return subprocess.Popen([sys.executable, "-m", "app", *map(str, words)], cwd=ROOT, env=variables, **how)


def heeding() -> None:
    """Let the process heed these signals, also where the tests run in the background of a shell or below nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ended(place: Place, *words: object, **more) -> tuple[int, str, str]:
    """The exit code, output and errors of a command. It leaves no temporary file."""
    return outcome(place, begun(place, *words, **more))


def inside(place: Place, *words: object) -> tuple[int, str, str]:
    """The same of a command that runs in this process, which starts none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place.folder / "temporary"))
        done = place.run(*words)
    assert list((place.folder / "temporary").iterdir()) == []
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def outcome(place: Place, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    assert list((place.folder / "temporary").iterdir()) == []
    assert b"Traceback" not in (errors or b"")
    return process.returncode, (output or b"").decode(), (errors or b"").decode()


def limited() -> None:
    """Let the process write files of this size only, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


def with_core() -> None:
    """Let the process leave a copy of its memory, as far as this machine allows."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def lines(count: int = MANY) -> list[object]:
    return [timeline(f"P{n:05}", CK | {"id": str(n), "source": "A"}) for n in range(count)]


@contextmanager
def while_it_stores(place: Place, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Run the block when a part is stored: a writer of SQLite lets the process store no more until the block ends."""
    database = Database(place.url)
    try:
        while process.poll() is None:
            with database.writing() as connection:
                if connection.execute(text("SELECT count(*) FROM patients")).scalar_one():
                    yield
                    return
            time.sleep(0.01)
        raise AssertionError(process.communicate())
    finally:
        database.dispose()


def stored(place: Place) -> int:
    return place.client.get("/v1/studies/trial").json()["patients"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.ndjson", None, "no such file or directory"),
        ("temporary", None, "it is a directory"),
        ("missing/a.ndjson", None, "no such file or directory"),
        ("a.ndjson/b.ndjson", None, "not a directory"),
        ("empty.csv", b"", "it is empty"),
        ("a.json", '[{"patient": {"id": "P1"}}]'.encode("utf-16"), "it is in UTF-16; save it as UTF-8"),
        ("a.csv", table({}).decode().encode("utf-16"), "it is in UTF-16; save it as UTF-8"),
        ("a.ndjson.gz", gzip.compress(b"{}", mtime=0), "it is compressed; unpack it first"),
        ("cut.ndjson", gzip.compress(b"{}" * 99, mtime=0)[:20], "it is compressed; unpack it first"),
        ("x" * 300, None, "file name too long"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_before_anything_is_stored(untouched, name, content, words):
    good = untouched.write("a.ndjson", lines(1))
    if content is not None:
        untouched.write(name, content)
    code, output, errors = inside(untouched, "import", good, untouched.folder / name, "--study", "trial")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert f"cannot be imported: {words}" in errors
    assert errors.endswith("Nothing was stored.\n")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(untouched):
    code, output, errors = ended(untouched, "import", "/proc/self/mem", "--study", "trial", "--format", "ndjson")
    assert (code, output) == (2, "")
    assert errors == "/proc/self/mem cannot be imported: I/O error. Nothing was stored.\n"


def test_a_table_in_latin_1_is_refused_in_one_line(untouched):
    body = table({"lab": "Zürich"}).decode().encode("latin-1")
    code, output, errors = inside(untouched, "import", untouched.write("a.csv", body), "--study", "trial")
    assert (code, output, errors.count("\n")) == (1, "1 file: 1 rejected.\n", 1)
    assert "unknown_encoding" in errors


def test_rejects_that_cannot_be_written_are_named_before_anything_is_stored(untouched):
    good = untouched.write("a.ndjson", lines(1))
    for rejects, words in (
        (untouched.folder / "none" / "r", "is no directory"),
        (untouched.folder, "is not overwritten"),
    ):
        code, output, errors = inside(untouched, "import", good, "--study", "trial", "--rejects", rejects)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert words in errors


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("export", "--study", "trial", "--output", "{folder}/none/x"), 2, "none is no directory"),
        (("export", "--study", "trial", "--output", "{folder}"), 2, "it is a directory"),
        (("export", "--study", "trial", "--output", "/dev/full"), 4, "The output: no space left on device.\n"),
        (("simulate", "-o", "{folder}/none/x"), 4, "none/x: no such file or directory.\n"),
        (("simulate", "-o", "/dev/full"), 4, "The output: no space left on device.\n"),
        (("demo", "{folder}/none"), 4, "none: no such file or directory.\n"),
        (("backup", "{folder}/none/x"), 2, "No such file or directory.\n"),
        (("restore", "{folder}/none"), 2, "there is no file"),
    ],
)
def test_an_output_that_cannot_be_written_ends_the_command_with_one_line(untouched, words, code, said):
    found, output, errors = inside(untouched, *(word.format(folder=untouched.folder) for word in words))
    assert (found, output, errors.count("\n")) == (code, "", 1)
    assert said in errors
    assert not [file for file in untouched.folder.iterdir() if file.suffix == ".part"]


class TestTheStandardOutput:
    """A pipe that is closed, a disk that is full."""

    @pytest.mark.parametrize("words", [("export", "--study", "trial"), ("simulate", "--n", "500")])
    def test_a_reader_that_leaves_ends_the_command(self, here, words):
        if "export" in words:
            here.run("import", here.write("a.ndjson", lines(2_000)), "--study", "trial")
        process = begun(here, *words)
        process.stdout.read(10)
        process.stdout.close()
        process.stdout = None
        assert outcome(here, process)[::2] == (4, "The output: broken pipe.\n")

    @pytest.mark.parametrize(
        "words", [("export", "--study", "trial"), ("verify",), ("import", "{}", "--study", "trial")]
    )
    def test_a_full_disk_ends_the_command(self, here, words):
        file = here.write("a.ndjson", lines(2))
        with open("/dev/full", "wb") as full:
            found = ended(here, *(word.format(file) for word in words), stdout=full)
        assert found[0] == 4
        assert found[2].splitlines()[-1] == "The output: no space left on device."

    @pytest.mark.postgresql
    def test_an_export_on_a_full_disk_leaves_what_was_there_before(self, tmp_path, postgres_url):
        with service(postgres_url) as client:
            (tmp_path / "temporary").mkdir()
            at = Place(client, postgres_url, tmp_path)
            at.run("import", at.write("a.ndjson", lines(500)), "--study", "trial")
            file = at.write("all.ndjson", b"before")
            found = ended(at, "export", "--study", "trial", "--output", file, preexec_fn=limited)
            assert found == (4, "", "The output: file too large.\n")
            assert file.read_bytes() == b"before"
            assert list(tmp_path.glob("*.part")) == []


@pytest.mark.postgresql
def test_a_full_disk_for_rejects_says_what_is_stored(tmp_path, postgres_url):
    with service(postgres_url) as client:
        (tmp_path / "temporary").mkdir()
        at = Place(client, postgres_url, tmp_path)
        content = [*lines(150), *(timeline("P 1", CK | {"lab": "x" * 300}) for _ in range(1_000))]

        words = ("import", at.write("a.ndjson", content), "--study", "trial", "--rejects", tmp_path / "r")
        code, output, errors = ended(at, *words, preexec_fn=limited)
        assert (code, output) == (4, "")
        assert re.search(rf"file too large\. Stored until then: 150 created, .*\. {re.escape(AGAIN)}\n\Z", errors)
        assert stored(at) == 150


class TestStopped:
    """An import that is asked to end, or killed."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_it_says_what_is_stored_and_is_run_again(self, here, number):
        file = here.write("a.ndjson", lines())
        process = begun(here, "import", file, "--study", "trial")
        with while_it_stores(here, process):
            process.send_signal(number)
        code, output, errors = outcome(here, process)
        assert (code, output) == (128 + number, "")
        said = re.fullmatch(
            r"The import was interrupted\. Stored until then: ([\d,]+) created; .*\. " + AGAIN + r"\n", errors
        )
        count = int(said[1].replace(",", ""))
        assert 0 < count < MANY
        assert stored(here) == count
        again = inside(here, "import", file, "--study", "trial", "--quiet")
        assert again == (0, "", "")
        assert stored(here) == MANY
        assert here.client.get("/v1/studies/trial").json()["revision"] == MANY

    def test_one_that_is_killed_is_run_again(self, here):
        file = here.write("a.ndjson", lines())
        process = begun(here, "import", file, "--study", "trial")
        with while_it_stores(here, process):
            process.kill()
        assert outcome(here, process)[0] == -signal.SIGKILL
        count = stored(here)
        code, output, _ = inside(here, "import", file, "--study", "trial")
        assert (code, output) == (
            0,
            f"1 file: {MANY - count:,} created, {count:,} unchanged; facts: {MANY:,} kept.\n",
        )

    def test_one_that_waits_for_a_pipe_ends_at_once_and_would_leave_no_core(self, here):
        words = ("import", "/dev/stdin", "--study", "trial", "--format", "ndjson")
        process = begun(here, *words, stdin=subprocess.PIPE, preexec_fn=with_core)
        process.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines(101)))
        process.stdin.flush()
        with while_it_stores(here, process):
            pass
        with open(f"/proc/{process.pid}/limits") as limits:
            assert re.search(r"Max core file size +0 ", limits.read())
        time.sleep(0.3)
        process.terminate()
        process.wait(timeout=20)
        process.stdin.close()
        process.stdin = None
        code, output, errors = outcome(here, process)
        assert (code, output) == (128 + signal.SIGTERM, "")
        assert errors.startswith("The import was interrupted. Stored until then: 100 created;")

    def test_an_export_that_is_stopped_leaves_nothing(self, here):
        here.run("import", here.write("a.ndjson", lines()), "--study", "trial")
        output = here.folder / "all.ndjson"
        process = begun(here, "export", "--study", "trial", "--output", output)
        while not (here.folder / "all.ndjson.part").exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.terminate()
        assert outcome(here, process) == (128 + signal.SIGTERM, "", "")
        assert not output.exists()
        assert not (here.folder / "all.ndjson.part").exists()

    def test_a_command_that_is_stopped_while_a_connection_is_put_back_says_nothing_of_it(self, tmp_path):
        variables = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", STOPPED_WHILE_RESET]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, b"", b"")

    def test_the_part_of_an_export_that_was_killed_is_replaced_by_the_next_one(self, here):
        here.run("import", here.write("a.ndjson", lines()), "--study", "trial")
        output, part = here.folder / "all.ndjson", here.folder / "all.ndjson.part"
        process = begun(here, "export", "--study", "trial", "--output", output)
        while not part.exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.communicate(timeout=20)
        assert (part.exists(), output.exists()) == (True, False)
        here.run("export", "--study", "trial", "--output", output)
        assert (part.exists(), output.exists()) == (False, True)

    @pytest.mark.postgresql
    def test_a_connection_that_is_killed_loses_nothing_and_stores_nothing_twice(self, tmp_path, postgres_url):
        with service(postgres_url) as client:
            (tmp_path / "temporary").mkdir()
            at = Place(client, postgres_url, tmp_path)
            file = at.write("a.ndjson", lines())
            process = begun(at, "import", file, "--study", "trial")
            with while_it_stores(at, process):
                pass
            database = Database(postgres_url)
            with database.writing() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            database.dispose()
            code, _, errors = outcome(at, process)
            assert code == 0 or AGAIN in errors
            assert inside(at, "import", file, "--study", "trial")[0] == 0
            assert stored(at) == at.client.get("/v1/studies/trial").json()["revision"] == MANY


def test_a_file_that_grows_while_it_is_read_is_said_to_have_changed(here):
    file = here.write("a.ndjson", lines())
    process = begun(here, "import", file, "--study", "trial")
    with while_it_stores(here, process), file.open("ab") as opened:
        opened.write(b'{"patient": {"id": "P')
    code, output, errors = outcome(here, process)
    assert code == 1
    assert "a.ndjson: the file: It was changed while it was read" in errors
    assert f"{MANY:,} created" in output


class TestProgress:
    """At a terminal a bar moves."""

    def shown(self, place: Place, *words: object, **more) -> tuple[str, int]:
        ours, theirs = pty.openpty()
        process = begun(place, *words, stderr=theirs, stdout=subprocess.DEVNULL, **more)
        os.close(theirs)
        seen = []

        def read() -> None:
            try:
                while part := os.read(ours, 65_536):
                    seen.append(part)
            except OSError:  # the other side has closed it
                pass

        reading = threading.Thread(target=read)
        reading.start()
        if process.stdin is not None:
            process.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines(3_000)))
            process.stdin.close()
        code = process.wait(timeout=120)
        reading.join()
        os.close(ours)
        return b"".join(seen).decode(), code

    def test_it_moves_with_the_bytes_that_were_read(self, here):
        file = here.write("a.ndjson", lines(8_000))
        shown, code = self.shown(here, "import", file, "--study", "trial")
        percents = [int(each) for each in re.findall(r"(\d+)%", shown)]
        assert code == 0
        assert (percents, percents[-1]) == (sorted(percents), 100)
        assert len(set(percents)) > 4

    def test_of_a_pipe_it_counts(self, here):
        words = ("import", "/dev/stdin", "--study", "trial", "--format", "ndjson")
        shown, code = self.shown(here, *words, stdin=subprocess.PIPE)
        counts = [int(each) for each in re.findall(r"\] +(\d+)", shown)]
        assert code == 0
        assert (counts, counts[-1]) == (sorted(counts), 3_000)
        assert len(set(counts)) > 4

    def test_quiet_shows_none(self, here):
        assert self.shown(here, "import", here.write("a.ndjson", lines(2)), "--study", "trial", "--quiet") == ("", 0)
