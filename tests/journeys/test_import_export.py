"""`python -m app import` and `python -m app export`: files of every format, in and out again."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bulk import command, file_formats, import_files
from app.bulk.import_files import Into, import_file
from app.demo import TIMELINES
from app.errors import ServiceError
from app.readers import recognition
from app.readers.streams import Elements, Lines
from app.readers.table_rows import Dialect
from app.store import ledger
from app.store.engine import Database
from app.store.rehearsal import rehearsal
from app.store.revision_builder import RevisionBuilder
from app.store.snapshot import StudyAt
from app.submission import loop
from tests.api.test_server import ROOT, environment, running
from tests.hl7v2.hl7v2_messages import MSH, OBR, OBX, changed, obx, oru
from tests.journeys.command_line import CK, Place, timeline
from tests.journeys.conftest import service
from tests.readers.tables import table
from tests.repetition import repeats

PATIENT = {"id": "P1", "sex": "female", "birth_year": 1953, "diagnosis": "polymyositis"}


@pytest.fixture
def at(tmp_path, database_url):
    """A service with the demonstration study and an empty one, the command line on its database, and a directory."""
    with service(database_url) as client:
        yield Place(client, database_url, tmp_path)


@pytest.fixture
def here(tmp_path):
    """The same on SQLite alone."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        yield Place(client, url, tmp_path)


class TestThereAndBackAgain:
    """What is exported is what is imported."""

    def test_an_export_imported_elsewhere_is_the_same_study(self, at):
        at.client.post(
            "/v1/studies/trial/timelines", content=TIMELINES.read_bytes(), headers={"Content-Type": "application/json"}
        )
        odd = {
            "patient": PATIENT | {"id": "P98", "weight_kg": 49.5, "steroid_resistant": True, "merged_into": "P01"},
            "labs": [
                CK | {"id": "a", "source": "LIS", "version": 3, "issued": "2005-03-17T08:00:00.25+09:00"},
                CK | {"id": "b", "lab": "B", "value": 16.7, "unit": "ukat/L", "upper_limit": 2.7, "comparator": ">="},
                CK | {"id": "c", "status": "entered-in-error"},
                CK | {"time": "2005-03-18", "value": 0.1, "status": "preliminary"},
            ],
            "medications": [{"drug": "prednisolone", "start": "2005-01-20", "end": None, "dose": 50, "unit": "mg/d"}],
            "adverse_events": [{"term": "K\u00f6pfschmerz \u2028 \U0001f642", "serious": False, "related": True}],
            "ended": {"date": "2006-09-01", "reason": "completed"},
        }
        assert at.client.put("/v1/studies/trial/patients/P98", json=odd).status_code == 201
        file = at.folder / "all.ndjson"
        written = at.run("export", "--study", "trial", "--output", file)
        assert (written.exit_code, written.stdout) == (0, "")
        assert "17 lines" in written.stderr
        at.study("again")
        read = at.run("import", file, "--study", "again", "--moved-from", "trial")
        assert (read.exit_code, read.stdout) == (0, "1 file: 17 created; facts: 1,673 kept.\n")
        assert at.read("again") == at.read("trial")
        assert at.digest("again") == at.digest("trial")
        head, *lines = file.read_bytes().splitlines(keepends=True)
        again = at.run("export", "--study", "again").stdout_bytes.splitlines(keepends=True)
        assert again[1:] == lines
        assert json.loads(again[0])["export"]["digest"] == json.loads(head)["export"]["digest"]
        assert at.run("import", file, "--study", "trial").stdout == "1 file: 17 unchanged; facts: 1,673 kept.\n"
        file.write_bytes(b"".join(lines))  # as version 0.1.0 wrote it
        assert at.run("import", file, "--study", "again").stdout == "1 file: 17 unchanged; facts: 1,673 kept.\n"

    def test_a_patient_with_very_many_facts_takes_several_lines(self, here, monkeypatch):
        monkeypatch.setattr(command, "MOST_FACTS", 30)
        monkeypatch.setattr(command, "PAGE", 5)
        here.run("import", TIMELINES, "--study", "trial")
        file = here.folder / "all.ndjson"
        assert here.run("export", "--study", "trial", "--output", file).exit_code == 0
        lines = [json.loads(line) for line in file.read_bytes().splitlines()][1:]
        assert max(sum(map(len, (line.get("labs", ()), line.get("assessments", ())))) for line in lines) == 30
        here.study("again")
        assert here.run("import", file, "--study", "again", "--moved-from", "trial").exit_code == 0
        assert here.read("again") == here.read("trial")
        assert here.digest("again") == here.digest("trial")

    def test_an_export_is_of_one_revision_and_without_a_person_erased_meanwhile(self, here):
        here.run("import", here.write("x.ndjson", [timeline(f"P{n}", CK) for n in range(5)]), "--study", "trial")
        database = Database(here.url)
        head, lines = command.export_study(database, "trial")
        first = next(lines)
        here.client.post("/v1/studies/trial/patients/P3/events", json=timeline("P3", CK | {"time": "2005-04-01"}))
        here.client.post("/v1/studies/trial/patients/P9/events", json=timeline("P9", CK))
        tag = here.client.get("/v1/studies/trial/patients/P2").headers["etag"]
        assert here.client.delete(
            "/v1/studies/trial/patients/P2?erase=true", headers={"If-Match": tag}
        ).status_code in {200, 204}
        rest = list(lines)
        database.dispose()
        exported = [json.loads(line) for line in (first, *rest)]
        assert head.revision == 5
        assert [each["patient"]["id"] for each in exported] == ["P0", "P1", "P3", "P4"]
        assert [len(each["labs"]) for each in exported] == [1] * 4

    def test_a_study_that_is_not_there_is_named_in_a_line(self, here):
        for words in (("export",), ("import", TIMELINES)):
            ended = here.run(*words, "--study", "nobody")
            assert (ended.exit_code, ended.stderr) == (2, "There is no study of this name.\n")

    def test_an_export_is_there_when_it_is_complete_and_for_its_owner_only(self, here, monkeypatch):
        here.run("import", TIMELINES, "--study", "trial")
        file = here.folder / "all.ndjson"
        monkeypatch.setattr(StudyAt, "timeline", lambda *_: 1 / 0)
        assert here.run("export", "--study", "trial", "--output", file).exit_code == 1
        assert not file.exists()
        monkeypatch.undo()
        assert here.run("export", "--study", "trial", "--output", file).exit_code == 0
        assert file.stat().st_mode & 0o777 == 0o600


class TestFormats:
    """The format of a file follows from its name and its first bytes."""

    @pytest.mark.parametrize(
        ("name", "content", "format"),
        [
            ("a.json", '[{"patient": {"id": "P1"}}]', "timelines"),
            ("a.json", '{\n"patient": {"id": "P1"}}', "timelines"),
            ("a.json", '{"patient": {"id": "P1"}}\n{"patient": {"id": "P1"}}', "ndjson"),
            ("a.jsonl", "{oops", "ndjson"),
            ("a.ndjson", '\ufeff{"resourceType": "Patient"}', "fhir"),
            ("a.json", '{"id": "1",\n "resourceType" : "Bundle"}', "fhir"),
            ("a.fhir.json", "{}", "fhir"),
            ("a.json", '{"patient": {"id": "P1"}, "labs": [{"lab": "\\"resourceType\\":"}]}', "ndjson"),
            ("A.CSV", "patient", "csv"),
            ("a.hl7", "", "hl7v2"),
            ("a.txt", "\ufeff\nMSH|^~\\&|", "hl7v2"),
            ("a.dat", "\x0bMSH|^~\\&|", "hl7v2"),
            ("a.dat", "BHS|^~\\&|", "hl7v2"),
            ("a.json", "", "timelines"),
            ("a.dat", "", None),
            ("a.txt", "patient,code", None),
        ],
    )
    def test_a_file_is_recognised(self, tmp_path, name, content, format):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert recognition.format_of(tmp_path / name) == format

    def test_one_that_is_not_can_be_named_and_nothing_is_read_before(self, here):
        good, odd = here.write("a.ndjson", [timeline("P1", CK)]), here.write("odd.txt", b"oops\n")
        refused = here.run("import", good, odd, "--study", "trial")
        assert refused.exit_code == 2
        assert "odd.txt" in refused.stderr
        assert here.read("trial") == {}
        assert here.run("import", good, odd, "--study", "trial", "--format", "ndjson").exit_code == 1
        assert list(here.read("trial")) == ["P1"]

    def test_every_format_gives_the_same_facts(self, here):
        sourced = {"source": "ELAB", "id": "acc-77", "lower_limit": 30, "status": "final"}
        documents = [timeline("P1", CK | sourced)]
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "identifier": [{"system": "ELAB", "value": "acc-77"}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
            "subject": {"identifier": {"system": "w", "value": "P1"}},
            "effectiveDateTime": CK["time"],
            "valueQuantity": {"value": 1101, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
            "referenceRange": [{"low": {"value": 30, "unit": "U/L"}, "high": {"value": 163, "unit": "U/L"}}],
        }
        cells = {"patient": "P1", "source": "ELAB", "id": "acc-77", "upper_limit": "163", "lower_limit": "30"}
        message = oru(
            obx(f7="30-163"),
            pid="PID|1||P1^^^w||DOE^JANE",
            obr="OBR|1||acc-77^ELAB|C^C^L|||20050316094800+0900",
            header=changed(MSH, f4=""),  # the sender would be the laboratory, which the other files do not name
        )
        collection = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": observation}]}
        found_there = {"fullUrl": "https://ehr.example/Observation/1", "search": {"mode": "match"}}
        searchset = collection | {"type": "searchset", "entry": [{**found_there, "resource": observation}], "total": 1}
        written = {
            "array.json": json.dumps(documents, indent=1),
            "one.json": json.dumps(documents[0], indent=1),
            "lines.ndjson": documents,
            "table.csv": table(cells),
            "lines.fhir.ndjson": [observation],
            "bundle.json": json.dumps(collection, indent=1),
            "bundles.ndjson": [collection],
            "found.json": json.dumps(searchset, indent=1),
            "pages.ndjson": [searchset],
            "message.hl7": message,
        }
        found = {}
        for number, (name, content) in enumerate(written.items()):
            here.study(f"s{number}")
            ended = here.run("import", here.write(name, content), "--study", f"s{number}")
            assert ended.exit_code == 0, (name, ended.output)
            found[name] = here.read(f"s{number}").get("P1", {}).get("labs")
        assert {json.dumps(labs) for labs in found.values()} == {json.dumps(found["lines.ndjson"])}, found


class TestSize:
    """A file of any size is read in parts."""

    def test_a_table_is_read_in_parts_with_the_lines_of_the_file_in_its_faults(self, here):
        rows = [
            {"patient": f"P{n % 7}", "time": f"20{n // 300:02}-{n // 28 % 12 + 1:02}-{n % 28 + 1:02}", "value": str(n)}
            for n in range(400)
        ]
        rows[250] |= {"patient": "P9", "value": "x"}
        rows[251] |= {"patient": "P9", "lab": 'a "quoted"\nname, of two lines'}
        rows[300] |= {"patient": "P8", "value": "y"}
        body = table(*rows).replace(b"\n", b"\n\n", 3)
        ended = here.run("import", here.write("a.csv", body), "--study", "trial", MAX_BODY_BYTES="2000")
        assert ended.exit_code == 1
        lines = body.split(b"\n")
        number = {
            value: lines.index(next(line for line in lines if b"," + value + b"," in line)) + 1
            for value in (b"x", b"y")
        }
        assert f"/{number[b'x']}/value bad_number" in ended.stderr
        assert f"/{number[b'y']}/value bad_number" in ended.stderr
        here.study("whole")
        whole = here.client.post("/v1/studies/whole/labs", content=body, headers={"Content-Type": "text/csv"})
        assert whole.status_code == 200, whole.text
        assert here.digest("whole") == here.digest("trial")

    @pytest.mark.slow
    @pytest.mark.parametrize("cutter", [Lines, Elements, file_formats.Messages])
    def test_no_more_than_a_part_of_a_file_is_in_memory(self, tmp_path, cutter):
        pieces = {Lines: b'{"a": 1}\n', Elements: b'{"a": "]"}, ', file_formats.Messages: b"MSH|^~\\&|a\rPID|1\r"}
        file, parts = tmp_path / "large", repeats(24, thorough=60)
        with file.open("wb") as opened:
            opened.write(b"[" if cutter is Elements else b"")
            for _ in range(parts):
                opened.write(pieces[cutter] * (100_000 // len(pieces[cutter])))
                opened.write(b" " * 400_000)
        tracemalloc.start()
        assert sum(len(group) for _, group in file_formats.groups(file, cutter(1_000_000))) > parts * 5_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert file.stat().st_size > parts * 490_000
        assert peak < 8_000_000

    def test_a_piece_that_is_too_long_is_refused_and_the_others_are_not(self, here):
        long = timeline("P2", *[CK | {"id": f"n{n}"} for n in range(40)])
        for name, content in (
            ("a.ndjson", [timeline("P1", CK), long, timeline("P3", CK)]),
            (
                "a.hl7",
                b"".join(oru(*[obx(f1=str(n))] * (1 + 40 * (n == 2)), pid=f"PID|1||P{n}^^^w") for n in (1, 2, 3)),
            ),
        ):
            here.study(name[2:])
            ended = here.run("import", here.write(name, content), "--study", name[2:], MAX_BODY_BYTES="1500")
            assert (ended.exit_code, list(here.read(name[2:]))) == (1, ["P1", "P3"]), ended.output


@pytest.mark.slow
class TestBesideTheService:
    """Importing while the service runs on the same file."""

    def test_both_write_and_nothing_is_lost(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'x.db'}"
        with service(url):
            pass
        file = tmp_path / "a.ndjson"
        file.write_text("".join(json.dumps(timeline(f"F{n:04}", CK)) + "\n" for n in range(1500)))
        with running(url) as server:
            server.ask("PUT", "/v1/studies/trial", {"name": "T", "protocol": "seed-2008"})
            statuses: list[int] = []
            done = threading.Event()

            def post() -> None:
                while not done.is_set():
                    patient = f"H{len(statuses):04}"
                    path = f"/v1/studies/trial/patients/{patient}/events"
                    statuses.append(server.ask("POST", path, timeline(patient, CK))[0])

            posting = threading.Thread(target=post)
            posting.start()
            ended = subprocess.run(
                [sys.executable, "-m", "app", "import", str(file), "--study", "trial"],
                cwd=ROOT, env=environment(url), capture_output=True, text=True, check=False,
            )  # fmt: skip
            done.set()
            posting.join()
            assert (ended.returncode, ended.stdout) == (0, "1 file: 1,500 created; facts: 1,500 kept.\n"), ended.stderr
            assert set(statuses) == {201}
            answer = json.loads(server.ask("GET", "/v1/studies/trial")[1])
        assert answer["patients"] == 1500 + len(statuses)

    def test_what_could_not_be_tried_is_among_the_rejects(self, here, monkeypatch):
        from app.errors import Busy

        submit_each, calls = ledger.submit_each, []

        def busy_after_the_first(*given, **more):
            calls.append(1)
            if len(calls) > 1:
                raise Busy
            return submit_each(*given, **more)

        monkeypatch.setattr(ledger, "submit_each", busy_after_the_first)
        monkeypatch.setattr(loop, "PAUSES", (0.0,))
        file = here.write("a.ndjson", [timeline(f"P{n:03}", CK) for n in range(120)])
        rejects = here.folder / "r.ndjson"
        ended = here.run("import", file, "--study", "trial", "--rejects", rejects)
        assert (ended.exit_code, ended.stdout.splitlines()[0]) == (
            1,
            "1 file: 100 created, 20 skipped; facts: 100 kept.",
        )
        monkeypatch.undo()
        assert here.run("import", rejects, "--study", "trial").stdout == "1 file: 20 created; facts: 20 kept.\n"


@given(
    st.sampled_from(recognition.FORMATS),
    st.sampled_from(
        [
            b"",
            b"[",
            b'{"resourceType": "Bundle", "type": "batch", "entry": [',
            b"MSH|^~\\&|",
            table({}) + b"\n",
            b"\xff\xfe",
        ]
    ),
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"\r", b"\n", b'"', b"MSH|", b"{}", b"]", b",", b"\0"]), max_size=12
    ),
)
@settings(max_examples=repeats(60, thorough=150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_of_a_file_nothing_but_outcomes_come_of_it(here, format, begun, parts):
    file = here.write("garbage", begun + b"".join(parts))
    database = Database(here.url)
    for longest in (20, 1000):
        for step in import_file(file, format, Into(database, "trial", None, longest)):
            assert all(isinstance(refusal.error, ServiceError) for refusal in step.refused)
    recognition.format_of(file)
    database.dispose()


@pytest.mark.slow
def test_progress_is_shown_where_somebody_looks(here):
    file = here.write("a.ndjson", [timeline(f"P{n}", CK) for n in range(300)])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "app", "import", str(file), "--study", "trial"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(here.url) | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert (ended.returncode, ended.stdout) == (0, b"1 file: 300 created; facts: 300 kept.\n")
    assert "Importing" in shown
    assert "100%" in shown


def test_a_rehearsed_import_prints_what_the_import_will_print_and_stores_nothing(at):
    file = at.write("x.ndjson", [timeline("P1", CK), timeline("P1", CK), timeline("P2", CK | {"unit": "mmHg"})])
    rehearsed = at.run("import", file, "--study", "trial", "--rehearse")
    assert at.read("trial") == {}
    imported = at.run("import", file, "--study", "trial")
    assert (rehearsed.output, rehearsed.exit_code) == (imported.output, imported.exit_code) != ("", 0)
    assert [*at.read("trial")] == ["P1"]


def test_a_rehearsed_import_prints_what_the_study_could_declare(at):
    rows = [{"unit": "E/L", "id": "7"}, {"unit": "E/L", "id": "8", "time": "2005-03-17"}, {"time": "2005-03-18T08:00"}]
    table_file = at.write("a.csv", table(*rows))
    messages = at.write("a.hl7", oru(obx(f3="CKN^Creatine kinase^L"), obx(f3="GLU^Glucose^L")))
    rehearsed = at.run("import", table_file, messages, "--study", "trial", "--rehearse")
    assert rehearsed.exit_code == 1
    assert rehearsed.stdout.splitlines()[1:] == [
        "The study could declare, if it is true:",
        '  local_codes {"L|CKN": "CK"}: met 1 time',
        "  time_zone (to be chosen): met 1 time",
        '  unit_aliases {"E/L": "U/L"}: met 2 times',
    ]
    imported = at.run("import", table_file, messages, "--study", "trial")
    assert imported.stdout == rehearsed.stdout.splitlines(keepends=True)[0]


def day(messages: int) -> bytes:
    """A feed of messages of 20 patients; every tenth has a code and a unit that the study does not declare."""
    odd = obx(f1="2", f3="CKN^Creatine kinase^L"), obx(f1="3", f3="2532-0^LDH^LN", f6="E/L")
    return b"".join(
        oru(
            OBX, *(odd if number % 10 == 0 else ()), pid=f"PID|1||P{number % 20}", obr=changed(OBR, f3=f"{number}^LAB"),
            header=changed(MSH, f10=str(number)),
        )
        for number in range(messages)
    )  # fmt: skip


def test_a_rehearsed_feed_waits_for_no_writer_of_the_study(at):
    file = at.write("day.hl7", day(30))
    database = Database(at.url)
    with database.writing() as connection:
        RevisionBuilder(connection, "trial", 10**15)  # locks the study until the block ends
        rehearsed = at.run("import", file, "--study", "trial", "--rehearse")
    database.dispose()
    assert rehearsed.stdout.splitlines() == [
        "1 file: 30 changed, 3 rejected; facts: 30 kept, 3 set aside, 3 not ours; left alone: 3 code.",
        "The study could declare, if it is true:",
        '  local_codes {"L|CKN": "CK"}: met 3 times',
        '  unit_aliases {"E/L": "U/L"}: met 3 times',
    ]
    assert at.read("trial") == {}


def test_no_writer_of_the_study_waits_for_a_rehearsed_feed(at, monkeypatch):
    statuses, store = [], import_files.store_message

    def store_while_others_write(*given, **more):
        answer = at.client.post("/v1/studies/trial/patients/P99/events", json=timeline("P99", CK))
        statuses.append(answer.status_code)
        return store(*given, **more)

    monkeypatch.setattr(import_files, "store_message", store_while_others_write)
    rehearsed = at.run("import", at.write("day.hl7", day(10)), "--study", "trial", "--rehearse")
    assert rehearsed.stdout.startswith("1 file: 10 changed")
    assert statuses == [201] + [200] * 9
    assert [*at.read("trial")] == ["P99"]


@pytest.mark.slow
def test_the_memory_of_a_rehearsed_feed_does_not_grow_with_its_length(here):
    def peak(messages: int) -> int:
        file = here.write(f"{messages}.hl7", day(messages))
        with rehearsal(database, "trial") as copy:
            into = Into(copy, "trial", None, 1_000_000, Dialect(",", ".", frozenset()))
            tracemalloc.start()
            assert sum(step.counts["changed"] for step in import_file(file, "hl7v2", into)) == messages
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    database = Database(here.url)
    peak(200)
    assert peak(max(400, repeats(800, thorough=10_000))) < peak(200) + 2_000_000
    database.dispose()


@pytest.mark.slow
def test_a_rehearsed_import_that_is_stopped_leaves_nothing_on_the_disk(here):
    file, folder = here.write("day.hl7", day(5_000)), here.folder / "temporary"
    folder.mkdir()
    began = subprocess.Popen(
        [sys.executable, "-m", "app", "import", str(file), "--study", "trial", "--rehearse"],
        cwd=ROOT, env=environment(here.url) | {"TMPDIR": str(folder)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not [*folder.glob("myoresponse-rehearsed-*/copy.db-wal")]:
        time.sleep(0.05)
        assert began.poll() is None
    began.terminate()
    _, errors = began.communicate(timeout=60)
    assert (began.returncode, errors) == (128 + signal.SIGTERM, b"")
    assert list(folder.iterdir()) == []
    assert here.read("trial") == {}
