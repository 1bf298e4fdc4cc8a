"""The commands `mllp` and `dead-letters` as processes: how they start, what they store, how they stop."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app import __version__
from app.__main__ import cli
from app.log import log
from app.main import create_app
from app.protocol.presets import SEED_2008
from app.settings import Settings
from app.store import audit
from app.store.revisions import list_revisions
from app.store.studies import FeedDefinition, StudyDeclaration, put_study
from app.store.tables import SCHEMA_REVISION
from app.store.timelines import document
from tests.api.test_server import LONGEST
from tests.hl7v2.conftest import WAIT, Sender
from tests.tables import with_tables
from tests.trust.opened import opened

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FEEDS = FeedDefinition(identifiers="pseudonyms", authorities=("HOSP",))


def oru(control="M1", unit="U/L", value="1101", patient="P01"):
    """An ORU^R01 with one CK."""
    return (
        f"MSH|^~\\&|LIS|LAB|MYO|WARD|20050316100000+0900||ORU^R01^ORU_R01|{control}|P|2.5.1\r"
        f"PID|1||{patient}^^^HOSP||SECRETNAME^JANE||19530102|F\r"
        f"OBR|1||A77^LAB|24336-0^CK^LN|||20050316094800+0900\r"
        f"OBX|1|NM|2157-6^CK^LN||{value}|{unit}|0-163|H|||F|||20050316094800+0900\r"
    ).encode()


class Place:
    """A migrated database with the study `ward7`, and a directory for dead letters."""

    def __init__(self, folder):
        self.letters = folder / "letters"
        self.url = f"sqlite:///{folder / 'x.db'}"
        with_tables(self.url)
        self.define(FEEDS)

    def define(self, feeds):
        with self.database() as database, database.writing() as connection:
            definition = StudyDeclaration("Ward", SEED_2008, feeds=feeds)
            put_study(connection, "ward7", definition, client=None, received_at=int(time.time() * 1e6))

    def database(self):
        return opened(self.url)

    def erase(self, patient):
        """Erase a person over HTTP."""
        address = f"/v1/studies/ward7/patients/{patient}?erase=true"
        settings = Settings(
            database_url=self.url, dead_letters=self.letters, compute_workers=0, allow_unauthenticated=True
        )
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            assert client.delete(address).status_code == 204

    def stored(self):
        """How many revisions the study has, and the CK values of P01."""
        with self.database() as database, database.reading() as connection:
            revisions = len(list_revisions(connection, "ward7", limit=99))
            found = document(connection, "ward7", "P01") if revisions > 1 else {"labs": []}
            return revisions, [lab["value"] for lab in found["labs"]]

    def audited(self):
        """The rows of the commands in the audit: the operation, the status, and whether it is of the study."""
        with self.database() as database, database.reading() as connection:
            rows = audit.listing(connection, after=(0, -1, -1), until=2**62, limit=99)
            return [(row.operation, row.status, row.chain != audit.NO_STUDY) for row in rows if row.caller is not None]

    def variables(self, **settings):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MYORESPONSE_")}
        ours = {"DATABASE_URL": self.url, "DEAD_LETTERS": str(self.letters), "MLLP_STUDY": "ward7"} | settings
        return kept | {"PYTHONUNBUFFERED": "1"} | {f"MYORESPONSE_{name}": value for name, value in ours.items()}

    def run(self, *command, **settings):
        """A command that ends by itself, in this process."""
        with log_left_as_it_was():
            ended = CliRunner().invoke(cli, [*map(str, command)], env=self.variables(**settings))
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exc_info
        return subprocess.CompletedProcess(command, ended.exit_code, ended.stdout, ended.stderr)

    def run_alone(self, *command, **settings):
        """A command that ends by itself, as a process."""
        return subprocess.run(
            [sys.executable, "-m", "app", *map(str, command)],
            cwd=ROOT,
            env=self.variables(**settings),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )


@contextmanager
def log_left_as_it_was():
    """Take back what a command changes when it begins to write a log."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("logThreads", "logProcesses", "logMultiprocessing"):
            patch.setattr(logging, name, getattr(logging, name))
        for logger in (log, logging.getLogger()):
            for name, value in (("handlers", [*logger.handlers]), ("level", logger.level)):
                patch.setattr(logger, name, value)
        patch.setattr(log, "propagate", log.propagate)
        patch.setattr(threading, "excepthook", threading.excepthook)
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        yield


class Process:
    """A listener as a process; `lines` is what it has written so far."""

    def __init__(self, command, variables):
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=variables, **pipe)
        self.lines, self._changed, self._ends = [], threading.Condition(), False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.port = int(self.wait_for(r"MLLP on 127\.0\.0\.1:(\d+) for study ward7\n")[1])
        except BaseException:
            self.close()
            raise

    def _read(self):
        for line in iter(self.process.stdout.readline, ""):
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ends = True
            self._changed.notify_all()

    def wait_for(self, pattern):
        """The first match in what it writes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ends or re.search(pattern, "".join(self.lines)), LONGEST)
            found = re.search(pattern, "".join(self.lines))
        assert found, "".join(self.lines)
        return found

    def ended(self):
        """Its exit code and all that it wrote, after it was asked to end."""
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code, "".join(self.lines)

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def start(place):
    """Start a listener, by its command or by a program of the test's own."""
    with ExitStack() as running:

        def started(*command, **settings):
            process = Process(command or ("-m", "app", "mllp", "--port", "0"), place.variables(**settings))
            running.callback(process.close)
            return process

        yield started


@contextmanager
def sender_to(process):
    sender = Sender(process.port)
    try:
        yield sender
    finally:
        sender.socket.close()


def test_what_a_message_says_is_stored_before_it_is_acknowledged_and_sent_again_changes_nothing(start, place):
    process = start()
    answers = []
    for _ in range(2):
        with sender_to(process) as sender:
            answers.append(sender.ask(oru()))
            assert place.stored() == (2, [1101])
    assert b"\rMSA|AA|M1" in answers[0]
    assert [msa(answer) for answer in answers] == [msa(answers[0])] * 2
    process.process.send_signal(signal.SIGTERM)
    code, output = process.ended()
    assert code == 0
    assert len(re.findall(r"level=INFO event=message study=ward7 sender=127\.0\.0\.1 code=AA ms=", output)) == 2
    assert "P01" not in output
    assert "SECRETNAME" not in output
    assert not list(place.letters.iterdir())


def msa(answer):
    """The segment MSA: the header says when it was made, and the rest what is new."""
    return answer.split(b"\r")[1]


def test_a_correction_that_its_source_orders_before_what_stands_is_told_in_the_log(start, place):
    process = start()

    def released(message, at):
        drawn = b"|||20050316094800+0900"
        return message.replace(drawn + b"\rOBX", drawn + b"|" * 15 + at + b"\rOBX")

    correction = oru("M2", value="900").replace(b"|||F|||", b"|||C|||")
    with sender_to(process) as sender:
        for message in (released(oru(), b"20050317080000+0900"), released(correction, b"20050316230000+0900")):
            assert b"\rMSA|AA|M" in sender.ask(message)
    process.wait_for(r"code=AA ms=[\d.]+\n(.*\n)*.*code=AA ms=[\d.]+ late=1\n")
    assert place.stored()[1] == [1101]


def test_a_refused_message_is_logged_by_its_codes_and_can_be_listed_mended_and_sent_again(start, place):
    process = start()
    with sender_to(process) as sender:
        assert b"\rMSA|AE|M1" in sender.ask(oru(unit="furlong"))
        line = process.wait_for("event=message .*\n")[0]
        assert b"\rMSA|AA|M2" in sender.ask(oru("M2", patient="P02"))
    assert re.fullmatch(r"event=message study=ward7 sender=127\.0\.0\.1 code=AE ms=\S+ faults=unknown_unit:1\n", line)
    assert "furlong" not in "".join(process.lines)
    (file,) = place.letters.glob("*.letter")
    listed = place.run("dead-letters")
    assert re.fullmatch(
        rf"{re.escape(str(file))}  \S+Z  ward7  AE  OBX\[1\]-6 unknown_unit  MSH-10 M1\n", listed.stdout
    )
    assert not any(b"SECRETNAME" in each.read_bytes() for each in place.letters.rglob("*") if each.is_file())

    unmended = place.run("dead-letters", "--send", file)
    assert (unmended.returncode, "refused again, AE: OBX[1]-6 unknown_unit: " in unmended.stdout) == (1, True)
    assert "furlong" not in listed.stdout + unmended.stdout + unmended.stderr

    read = place.run_alone("dead-letters", "--read", file)
    assert (read.returncode, read.stderr) == (0, "")
    assert "SECRETNAME^JANE" in read.stdout
    mended_file = place.letters.parent / "mended.hl7"
    mended_file.write_text(read.stdout.replace("\r", "\n").replace("furlong", "U/L"))  # as an editor writes it
    mended = place.run("dead-letters", "--send", mended_file)
    assert (mended.returncode, mended.stdout) == (0, f"{mended_file}  accepted and removed\n"), mended.stderr
    assert place.stored()[1] == [1101]
    assert place.run("dead-letters", "--delete", file).stdout == f"{file}  deleted\n"
    assert [each for each in place.letters.rglob("*") if each.is_file()] == []
    assert place.run("dead-letters").stdout == f"No dead letters in {place.letters}.\n"
    assert "furlong" not in "".join(process.lines)


def test_letters_are_accepted_as_they_are_once_the_study_knows_their_code(start, place):
    with sender_to(start()) as sender:
        assert b"\rMSA|AE|M1" in sender.ask(oru().replace(b"^^^HOSP", b"^^^CLINIC"))
    files = list(place.letters.iterdir())
    for _ in range(2):
        again = place.run("dead-letters", "--send", *files)
        assert (again.returncode, again.stdout.count("refused again, AE")) == (1, 1)
    place.define(FeedDefinition(identifiers="pseudonyms", authorities=("CLINIC",)))
    assert place.run("dead-letters", "--send", *files).returncode == 0
    assert place.stored()[1] == [1101]
    assert place.run("dead-letters", "--send", *place.letters.iterdir()).returncode == 0
    assert place.stored() == (3, [1101])
    assert [each for each in place.letters.rglob("*") if each.is_file()] == []


def test_messages_that_share_a_frame_are_stored_and_answered_each_for_itself_and_a_batch_as_one(start, place):
    process = start()
    with sender_to(process) as sender:
        sender.send(oru("M1", "furlong") + oru("M2", value="950"))
        answers = [sender.answer(), sender.answer()]
    assert [re.search(rb"MSA\|(A[AE]\|M\d)", answer)[1] for answer in answers] == [b"AE|M1", b"AA|M2"]
    assert place.stored()[1] == [950]
    (file,) = place.letters.glob("*.letter")
    read = place.run("dead-letters", "--read", file).stdout
    assert "furlong" in read
    assert "M2" not in read
    batch = (
        b"BHS|^~\\&|LIS|LAB|MYO|WARD|20050316100000+0900||||B1\r" + oru("M3") + oru("M4", patient="P02") + b"BTS|2\r"
    )
    with sender_to(process) as sender:
        answer = sender.ask(batch)
        assert answer.startswith(b"BHS|")
        assert re.findall(rb"MSA\|(A[AER]\|M\d)", answer) == [b"AA|M3", b"AA|M4"]
        assert b"\rMSA|AA|M5" in sender.ask(oru("M5"))


def test_a_listener_that_is_told_to_stop_finishes_the_message_in_work(start, place):
    program = textwrap.dedent("""
        from app.hl7v2 import submit
        taking = submit.store_message

        def take(*arguments, **named):
            print("taking", flush=True)
            input()
            return taking(*arguments, **named)

        submit.store_message = take
        from app.__main__ import cli
        cli(["mllp", "--port", "0"])
    """)
    process = start("-c", program)
    with sender_to(process) as sender, sender_to(process) as idle:
        sender.send(oru())
        process.wait_for("taking\n")
        process.process.send_signal(signal.SIGTERM)
        assert idle.answer() is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", process.port), timeout=WAIT)
        assert place.stored() == (1, [])
        process.process.stdin.write("\n")
        process.process.stdin.flush()
        assert b"\rMSA|AA|M1" in sender.answer()
        assert sender.answer() is None
    assert process.ended()[0] == 0
    assert place.stored() == (2, [1101])


@pytest.mark.parametrize(
    ("asked", "settings", "pseudonyms", "senders"),
    [
        (signal.SIGTERM, {}, "off", "any"),
        (signal.SIGINT, {"PSEUDONYM_SECRET": "hunter2" * 5, "MLLP_SENDERS": "127.0.0.0/8"}, "on", "listed"),
    ],
)
def test_a_listener_says_what_is_on_never_its_secret_and_without_work_ends_at_once_and_in_peace(
    start, asked, settings, pseudonyms, senders
):
    process = start(**settings)
    process.process.send_signal(asked)
    code, output = process.ended()
    assert code == 0
    started, listening, stopped = (line.partition(" level=INFO ")[2] or line for line in output.splitlines())
    assert started == (
        f"event=start service=mllp version={__version__} database=sqlite tables={SCHEMA_REVISION} "
        f"address=127.0.0.1:{process.port} study=ward7 pseudonyms={pseudonyms} tls=off client_certificates=off "
        f"senders={senders}"
    )
    assert listening.startswith("MLLP on ")
    assert re.fullmatch(rf"event=stop service=mllp reason={asked.name} uptime_s=\d+\.\d", stopped)
    assert "hunter2" not in output


def test_a_listener_that_is_killed_has_acknowledged_nothing_that_is_not_stored(start, place):
    process = start()
    acknowledged = []
    with sender_to(process) as sender:
        for value in range(1, 21):
            sender.send(oru(f"M{value}", value=str(value)).replace(b"A77", b"A%d" % value))
        while (answer := sender.answer()) is not None:
            acknowledged.append(answer)
            if len(acknowledged) == 5:
                process.process.kill()
    assert set(range(1, len(acknowledged) + 1)) <= set(place.stored()[1])
    assert len(acknowledged) >= 5


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"MLLP_HOST": "0.0.0.0"}, 2, "MYORESPONSE_MLLP_SENDERS"),  # noqa: S104 - refused
        ({"MLLP_STUDY": ""}, 2, "--study"),
        ({"MLLP_SENDERS": "10.0.0.1/8"}, 2, "MYORESPONSE_MLLP_SENDERS"),
        ({"DATABASE_URL": "sqlite:////nowhere/x.db"}, 3, "the directory of its file does not exist"),
        ({"MLLP_SENDER": "10.0.0.0/8"}, 2, "the nearest name is MYORESPONSE_MLLP_SENDERS"),
    ],
)
def test_a_listener_with_settings_that_cannot_be_says_why_in_a_line(place, settings, code, says):
    refused_in_a_line(place.run("mllp", "--port", "0", **settings), code, says)


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"MLLP_STUDY": "nowhere"}, 2, "no such study"),
        ({"MLLP_CERTIFICATE": "/nowhere", "MLLP_KEY": "/nowhere"}, 2, "MYORESPONSE_MLLP_CERTIFICATE"),
        ({"MLLP_HOST": "localhost.invalid", "MLLP_SENDERS": "10.0.0.0/8"}, 2, "MYORESPONSE_MLLP_HOST"),
        ({"MLLP_HOST": "a..b", "MLLP_SENDERS": "10.0.0.0/8"}, 2, "MYORESPONSE_MLLP_HOST"),
        ({"DEAD_LETTERS": "/proc/nowhere"}, 2, "MYORESPONSE_DEAD_LETTERS"),
    ],
)
def test_a_listener_that_cannot_start_says_why_in_a_line(place, settings, code, says):
    refused_in_a_line(place.run("mllp", "--port", "0", **settings), code, says)


def refused_in_a_line(ended, code, says):
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, 1), ended.stderr
    assert says in ended.stderr
    assert ended.stdout == ""


def test_a_listener_does_not_start_without_the_secret_that_its_study_needs(place):
    place.define(FeedDefinition())
    ended = place.run("mllp", "--port", "0")
    assert (ended.returncode, "MYORESPONSE_PSEUDONYM_SECRET_FILE" in ended.stderr) == (2, True)
    ended = place.run("mllp", "--port", "0", MLLP_STUDY="nowhere")
    assert (ended.returncode, "no such study" in ended.stderr) == (2, True)
    assert place.audited() == [("mllp", 422, True), ("mllp", 422, False)]


def test_a_port_that_is_taken_is_said_in_a_line(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = place.run_alone("mllp", "--port", taken.getsockname()[1])
    assert (ended.returncode, "Address already in use" in ended.stderr) == (2, True), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_letters_that_cannot_be_sent_say_why_and_stay(place, tmp_path):
    file = tmp_path / "found.hl7"
    file.write_bytes(oru())
    nameless = place.run("dead-letters", "--send", file, MLLP_STUDY="")
    assert (nameless.returncode, "use --study" in nameless.stdout) == (1, True)
    missing = place.run("dead-letters", "--send", tmp_path / "nothing.hl7")
    assert (missing.returncode, "not sent: FileNotFoundError" in missing.stdout) == (1, True)
    assert place.run("dead-letters", "--send").returncode == 2
    assert file.exists()
    assert place.run("dead-letters", "--send", "--study", "ward7", file, MLLP_STUDY="").returncode == 0
    assert not file.exists()
    file.write_bytes(oru())
    assert place.run("dead-letters", "--send", file).returncode == 0  # stored before
    ends = [(422, False), (422, True), (None, True), (200, True)]
    assert place.audited() == [("dead-letters", *end) for end in ends]


def test_a_message_that_did_not_arrive_whole_is_sent_only_after_it_was_mended(start, place):
    with sender_to(start(MLLP_MAX_BYTES="1000")) as sender:
        whole = oru() + b"NTE|1||" + b"x" * 1_000
        assert sender.ask(whole) is None
    (file,) = place.letters.glob("*.letter")
    cut = place.run("dead-letters", "--send", file)
    assert (cut.returncode, "did not arrive whole" in cut.stdout) == (1, True)
    mended = place.letters.parent / "mended.hl7"
    mended.write_bytes(whole)
    assert place.run("dead-letters", "--send", mended).returncode == 0
    assert place.stored()[1] == [1101]


def files_of(place):
    return [each for each in place.letters.rglob("*") if each.is_file()]


def adt(event, control="A1", patient="P01"):
    return oru(control, patient=patient).replace(b"ORU^R01^ORU_R01", b"ADT^" + event.encode())


def test_of_a_type_that_is_not_read_only_a_note_is_kept_and_nothing_where_it_is_declared(start, place):
    with sender_to(start(MLLP_NOT_OURS="ADT^A08, ORM^O01")) as sender:
        answer = sender.ask(adt("A08", "A2"))
        assert b"\rMSA|AA|A2|not ours 1" in answer
        assert b"SECRETNAME" not in answer
        assert files_of(place) == []
        assert b"\rMSA|AR|A1" in sender.ask(adt("A01"))
        assert b"\rMSA|AA|M1" in sender.ask(oru())
    (note,) = files_of(place)
    assert "SECRETNAME" not in note.read_text()
    line = place.run("dead-letters").stdout
    assert re.search(r"ward7  AR  MSH-9 unsupported  MSH-10 A1  \(only this note is kept\)\n", line)
    for _ in range(2):
        sent = place.run("dead-letters", "--send", *place.letters.iterdir())
        assert (sent.returncode, sent.stdout.count("not sent: only its note is kept")) == (0, 1)


@pytest.mark.parametrize(("types", "says"), [("ADT^A40", "that is read here"), ("ADT", "as in ADT^A08")])
def test_a_type_that_is_read_or_has_no_event_cannot_be_declared(place, types, says):
    refused_in_a_line(place.run("mllp", "--port", "0", MLLP_NOT_OURS=types), 2, says)


def test_a_message_of_an_erased_person_leaves_a_note_and_an_erasure_deletes_letters(start, place):
    with sender_to(start()) as sender:
        assert b"\rMSA|AE|M1" in sender.ask(oru(unit="furlong"))  # P01 has no record yet
        assert b"\rMSA|AE|M2" in sender.ask(oru("M2", "furlong", patient="P02"))
        assert len(list(place.letters.glob("*.letter"))) == 2
        place.erase("P01")
        assert len(list(place.letters.glob("*.letter"))) == 1
        for message in (oru("M3"), oru("M4", "furlong")):
            assert b"\rMSA|AE|" in sender.ask(message)
    assert len(list(place.letters.glob("*.letter"))) == 1
    assert place.run("dead-letters").stdout.count("only this note is kept") == 2
    assert "erased  MSH-10 M3" in place.run("dead-letters").stdout
    assert place.run("verify").returncode == 0


def test_letters_of_an_earlier_version_are_taken_along(place):
    place.letters.mkdir(mode=0o700)
    note = {"received": "2026-01-02T03:04:05Z", "last_received": "2026-01-02T03:04:05Z", "times": 2, "study": "ward7",
            "sender": "10.0.0.5", "code": "AE", "faults": [], "whole": True}  # fmt: skip
    old = place.letters / "20260102T030405.000000Z-0123456789abcdef.hl7"
    for file, study in ((old, "ward7"), (old.with_name("x.hl7"), "gone")):
        file.write_bytes(oru(unit="furlong"))
        file.with_suffix(".json").write_text(json.dumps(note | {"study": study}))
    listed = place.run("dead-letters").stdout
    assert listed.count("2026-01-02T03:04:05Z (2 times)  ward7  AE") == 1
    assert listed.count("gone  AE  -  (not encrypted)") == 1
    assert not old.exists()
    (kept,) = place.letters.glob("*.letter")
    read = place.run("dead-letters", "--read", kept).stdout
    assert read.encode() == oru(unit="furlong")
