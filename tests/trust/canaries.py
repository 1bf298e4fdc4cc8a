"""Every text, identifier and number of thousands of good and broken inputs is unique. They are sent through each door:
native JSON, lines, CSV, FHIR, HL7 v2 over HTTP and MLLP, and the command `import`; also in addresses, queries, methods
and headers. Then they are looked for in the standard output and error of each process, in `/metrics`, in the audit, in
the headers of all answers, in the bodies of all refusals and of receipts, in the notes of dead letters and the reasons
of an import, in temporary files and, for names and numbers of persons, in the database. At last patients are erased,
and what was sent of them is looked for in the file of SQLite, its log and all other files, while the service runs and
after its end. As a control, what is stored must be found there.
"""

import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.tables import with_tables
from tests.trust.figures import Figure

ROOT = Path(__file__).parents[2]
SECRET = "an invented secret of 40 characters ...."
ROUNDS = {False: 1, True: 20}
JSON, LINES, CSV, FHIR, HL7 = (
    {"Content-Type": name}
    for name in ("application/json", "application/x-ndjson", "text/csv", "application/fhir+json", "application/hl7-v2")
)


@dataclass
class Planted:
    """What was planted. Receipts name the `ids` of patients, and an acknowledgement the control id of its message."""

    chance: random.Random
    words: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    persons: set[str] = field(default_factory=set)
    controls: set[str] = field(default_factory=set)
    numbers: dict[str, float] = field(default_factory=dict)

    def word(self) -> str:
        """A text that nothing else contains."""
        text = f"Cn{self.chance.getrandbits(60):015x}"
        self.words.add(text)
        return text

    def id(self) -> str:
        """The identifier of a patient."""
        text = self.word()
        self.ids.add(text)
        return text

    def person(self) -> str:
        """A name or a number of a person in a hospital, which is never stored."""
        text = self.word()
        self.persons.add(text)
        return text

    def control(self) -> str:
        """The control id of a message, which its acknowledgement and the note of its dead letter repeat."""
        text = self.word()
        self.controls.add(text)
        return text

    def number(self) -> float:
        """A number that nothing else contains."""
        value = round(self.chance.uniform(100_000, 999_999), 5)
        self.numbers[repr(value)] = value
        return value

    def all(self) -> set[str]:
        """Every text to look for."""
        return self.words | set(self.numbers)

    def __len__(self) -> int:
        return len(self.words) + len(self.numbers)


_SHAPE = re.compile(r"Cn[0-9a-f]{15}|\d{6}\.\d{1,5}")


def found_in(text: str, wanted: set[str]) -> set[str]:
    """Which of the canaries a text contains, in any case."""
    folded = {each.lower(): each for each in wanted}
    return {folded[each.lower()] for each in re.findall(_SHAPE.pattern, text, re.IGNORECASE) if each.lower() in folded}


def run(full: bool) -> list[Figure]:
    """Plant, look, erase, look again."""
    planted = Planted(random.Random(20080118))
    with tempfile.TemporaryDirectory(prefix="myoresponse-canaries-") as folder:
        work = Path(folder)
        (work / "tmp").mkdir()
        url = with_tables(f"sqlite:///{work / 'x.db'}")
        asked = 0
        with process(work, url, "serve") as (port, outputs):
            service = Doors(port, planted)
            service.declare()
            erased: list[tuple[str, set[str], list[float]]] = []
            for number in range(ROUNDS[full]):
                erased += service.round(number)
            with process(work, url, "mllp", "--port", "0", "--study", "ward") as (mllp, listened):
                over_mllp = sum(send_over_mllp(mllp, planted) for _ in range(ROUNDS[full]))
            command = import_files(work, url, planted, ROUNDS[full])
            question = service.read_everything()
            metrics = service.ask("GET", "/metrics", {}, None)[2]
            stored = b"".join(path.read_bytes() for path in work.glob("x.db*"))
            for patient, _, _ in erased:
                assert service.ask("DELETE", f"/v1/studies/trial/patients/{patient}?erase=true", {}, None)[0] in {
                    200,
                    204,
                }
            wait_until_erased(work, erased)  # while the service runs: its end would truncate the log, too
            replay = service.ask("GET", question, {}, None)[0]
            assert replay == 410, f"a kept answer about an erased person: {replay}"
            asked = service.asked
        places = {
            "the standard output and error": "".join(outputs) + "".join(listened) + command,
            "/metrics": metrics,
            "headers and refusals": "\n".join(service.shown),
            "receipts": "\n".join(service.receipts),
            "notes and reasons": notes_of(work),
            "temporary files": "".join(path.name for path in (work / "tmp").rglob("*")),
        }
        _look(planted, places, stored)
        _look_for_erased(work, erased, stored)
    lines = sum(len(text.splitlines()) for text in places.values())
    return [
        Figure(
            "P9",
            f"canaries planted in {asked} requests, {over_mllp} messages over MLLP and an import",
            f"{len(planted):,}",
        ),
        Figure(
            "P9",
            "canaries found in logs, metrics, audit, headers, refusals, receipts, notes and temporary files",
            f"0 in {lines:,} lines",
        ),
        Figure("P9", "names and numbers of persons found in the database", f"0 of {len(planted.persons):,}"),
        Figure(
            "P9", "erased patients; bytes of them found in file, log, temporary and other files", f"{len(erased)}; 0"
        ),
    ]


def _look(planted: Planted, places: dict[str, str], stored: bytes) -> None:
    for place, text in places.items():
        wanted = planted.all()
        if place in {"receipts", "headers and refusals", "notes and reasons"}:
            wanted -= planted.controls | (planted.ids if place == "receipts" else set())
        hits = found_in(text, wanted)
        assert not hits, f"{len(hits)} canaries in {place}, such as {_around(text, min(hits))}"
    text = stored.decode("latin-1")
    kept = found_in(text, planted.persons)
    assert not kept, f"{len(kept)} names or numbers of persons in the database"
    assert found_in(text, planted.ids), "the control: no patient was stored"
    assert "event" in places["the standard output and error"], "the control: nothing was logged"


def _look_for_erased(work: Path, erased: list[tuple[str, set[str], list[float]]], before: bytes) -> None:
    """Search all files for what was sent of erased patients; dead letters and rejects are not among what is erased."""
    after = bytes_of(work)
    for patient, words, numbers in erased:
        for text in {patient, *words}:
            assert text.encode() in before, f"the control: {text} was not stored"
            assert text.encode() not in after, f"{text} is left of an erased patient"
        for number in numbers:
            assert struct.pack(">d", number) in before, "the control: a number was not stored"
            assert struct.pack(">d", number) not in after, "a number is left of an erased patient"


def bytes_of(work: Path) -> bytes:
    """All files but dead letters, and those of an import with its rejects."""
    files = [path for path in work.rglob("*") if path.is_file() and path.parent.name not in {"letters", "import"}]
    return b"".join(path.read_bytes() for path in files)


def wait_until_erased(work: Path, erased: list[tuple[str, set[str], list[float]]]) -> None:
    """Wait until no identifier of an erased patient is in a file; a reader may delay that by some seconds."""
    until = time.monotonic() + 10
    while any(patient.encode() in bytes_of(work) for patient, _, _ in erased):
        assert time.monotonic() < until, "bytes of an erased patient stay in the files of a running service"
        time.sleep(0.1)


def _around(text: str, hit: str) -> str:
    at = text.lower().index(hit.lower())
    return repr(text[max(0, at - 80) : at + 40])


class Doors:
    """The doors of a running service over HTTP."""

    def __init__(self, port: int, planted: Planted) -> None:
        self.port, self.planted = port, planted
        self.shown: list[str] = []
        self.receipts: list[str] = []
        self.asked = 0

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: str | bytes | None, *, echo: bool = True
    ) -> tuple[int, str, str]:
        """Send a request. Keep its headers, and its body if it is a refusal or (without `echo`) a receipt."""
        self.asked += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            head = str(answer.headers)
        finally:
            connection.close()
        if answer.status >= 400:
            self.shown.append(head + text)
        else:
            self.receipts.append(head if echo else head + text)
        assert answer.status < 500, (method, path, answer.status, text)
        return answer.status, head, text

    def declare(self) -> None:
        """Make a study for native data, one of pseudonyms and one of numbers of medical records."""
        for name, more in (("trial", {"identifiers": "pseudonyms"}), ("ward", {}), ("other", {"test": True})):
            document = {"name": "T", "protocol": "seed-2008", **more}
            assert self.ask("PUT", f"/v1/studies/{name}", JSON, json.dumps(document))[0] == 201

    def round(self, number: int) -> Iterator[tuple[str, set[str], list[float]]]:
        """Good and broken inputs at every door. Which patients are to be erased, and what was sent of them."""
        for door in (self.native, self.tables, self.fhir, self.hl7v2, self.addresses):
            door()
        yield self.to_be_erased()

    def to_be_erased(self) -> tuple[str, set[str], list[float]]:
        """A patient with results."""
        sent, patient = Planted(self.planted.chance), self.planted.id()
        document = timeline(sent, patient)
        assert (
            self.ask("PUT", f"/v1/studies/trial/patients/{patient}", JSON, json.dumps(document), echo=False)[0] == 201
        )
        self.planted.words |= sent.words
        self.planted.numbers |= sent.numbers
        return patient, {sent_id for lab in document["labs"] for sent_id in [lab["id"]]}, list(sent.numbers.values())

    def native(self) -> None:
        """JSON and lines."""
        new, home = self.planted, "/v1/studies/trial"
        good = [timeline(new, new.id()) for _ in range(3)]
        bad = list(broken_timelines(new))
        for document in bad:
            self.ask("POST", f"{home}/patients/{new.id()}/events", JSON, json.dumps(document), echo=False)
            self.ask("PUT", f"{home}/patients/{new.id()}", JSON | {"If-Match": f'"{new.word()}"'}, json.dumps(document))
        for query in ("", "?atomic=true", "?receipts=full"):
            self.ask("POST", f"{home}/timelines{query}", JSON, json.dumps(good + bad), echo=False)
        lines = [json.dumps(each) for each in good + bad] + [new.word(), f'{{"{new.word()}": {new.number()}']
        self.ask("POST", f"{home}/timelines", LINES, "\n".join(lines) + "\n", echo=False)
        self.ask("POST", f"{home}/timelines?rehearse=true", JSON, json.dumps([timeline(new, new.id())]), echo=False)
        self.ask("POST", "/v1/analyses", JSON, json.dumps({"protocol": new.word(), "timelines": bad}))
        self.ask("PUT", f"{home}/protocol", JSON, json.dumps({"id": new.word(), new.word(): new.number()}))
        self.ask("PUT", "/v1/studies/trial", JSON, json.dumps({"name": "T", "protocol": new.word()}))

    def tables(self) -> None:
        """CSV."""
        new = self.planted
        rows = [f"{new.id()},2005-03-16,CK,{new.number()},U/L,{new.word()}" for _ in range(3)]
        rows += [
            f"{new.id()},2005-03-16,{new.word()},{new.number()},U/L,",
            f"{new.id()},{new.word()},CK,{new.word()},,",
        ]
        rows += [f"{new.id()},2005-03-16,CK,{new.number()},{new.word()},", f'"{new.word()}']
        head = "patient,time,code,value,unit,lab"
        self.ask("POST", "/v1/studies/trial/labs", CSV, "\n".join([head, *rows]), echo=False)
        self.ask("POST", "/v1/studies/trial/labs", CSV, f"{head},{new.word()}\n{rows[0]},x\n", echo=False)

    def fhir(self) -> None:
        """FHIR: an accepted resource is echoed to its sender, a refusal never."""
        new = self.planted
        for study in ("ward", "trial"):
            number = new.person() if study == "ward" else new.id()
            subject = {"identifier": {"system": "urn:oid:1.2.3.9", "value": number}}
            person = {
                "resourceType": "Patient", "identifier": [subject["identifier"]], "gender": "female",
                "name": [{"family": new.person(), "given": [new.person()]}], "telecom": [{"value": new.person()}],
            }  # fmt: skip
            lab = {
                "resourceType": "Observation", "status": "final", "subject": subject,
                "identifier": [{"system": "urn:oid:1.2.3.4", "value": new.word()}],
                "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
                "effectiveDateTime": "2005-03-16T09:48:00+09:00", "note": [{"text": new.person()}],
                "valueQuantity": {"value": new.number(), "system": "http://unitsofmeasure.org", "code": "U/L"},
            }  # fmt: skip
            bad = [
                lab | {"code": {"coding": [{"system": new.word(), "code": new.word()}], "text": new.word()}},
                lab | {"valueQuantity": {"value": new.number(), "unit": new.word(), "code": new.word()}},
                lab | {"effectiveDateTime": new.word()}, lab | {"status": new.word(), new.word(): 1},
                lab | {"subject": {"reference": f"Patient/{new.id()}"}}, {"resourceType": new.word()},
                lab | {"modifierExtension": [{"url": new.word(), "valueString": new.word()}]},
            ]  # fmt: skip
            for resource in (person, lab, *bad):
                kind = resource["resourceType"]
                self.ask("POST", f"/fhir/{study}/{kind}", FHIR, json.dumps(resource))
                self.ask("PUT", f"/fhir/{study}/{kind}/{new.id()}", FHIR, json.dumps(resource))
            entries = [{"resource": each, "request": {"method": "POST", "url": each["resourceType"]}} for each in bad]
            for kind in ("batch", "transaction", new.word()):
                document = {"resourceType": "Bundle", "type": kind, "entry": entries}
                self.ask("POST", f"/fhir/{study}", FHIR, json.dumps(document), echo=False)
            for query in (f"identifier={new.word()}|{new.word()}", f"{new.word()}={new.word()}", f"_id={new.word()}"):
                self.ask("GET", f"/fhir/{study}/Patient?{query}", {}, None)
            self.ask("GET", f"/fhir/{study}/Observation/{new.word()}", {}, None)

    def hl7v2(self) -> None:
        """HL7 v2 over HTTP."""
        for content in messages(self.planted):
            for study in ("ward", "other"):
                self.ask("POST", f"/v1/studies/{study}/hl7v2", HL7, content, echo=False)

    def addresses(self) -> None:
        """Addresses, queries, methods and headers."""
        new, home = self.planted, "/v1/studies/trial"
        for path in (
            f"/{new.word()}/{new.word()}?{new.word()}={new.word()}", f"{home}/patients/{new.word()}",
            f"{home}/patients/{new.word()}_", f"{home}/patients?cursor={new.word()}", f"/v1/studies/{new.word()}",
            f"{home}/analyses/{new.word()}", f"{home}/analyses?as_of={new.word()}&level={new.word()}",
            f"{home}/patients/{new.word()}/history", f"{home}/datasets/{new.word()}.csv", f"/problems/{new.word()}",
            f"{home}/charts/{new.word()}.svg", f"{home}/charts/flow.svg?patient={new.word()}&width={new.word()}",
            f"{home}/set-aside?cursor={new.word()}", f"/docs/{new.word()}", f"{home}/patients/%2e{new.word()}%00",
        ):  # fmt: skip
            self.ask("GET", path, {}, None)
        names = (
            "User-Agent", "Cookie", "If-None-Match", "If-Match", "Referer", "X-Request-Id", "Authorization", "Origin",
            "Prefer", "Accept", "Accept-Language", "X-Forwarded-For", "Range", "Idempotency-Key", "Content-Type",
        )  # fmt: skip
        for name in names:
            value = f"{new.word()} {new.word()}" if name in {"X-Request-Id", "Authorization"} else new.word()
            self.ask("GET", f"{home}/patients", {name: value}, None)
            self.ask("POST", f"{home}/timelines", JSON | {name: value}, "[]", echo=False)
        self.ask("GET", "/livez", {"Host": f"{new.word()}.example"}, None)
        self.ask(new.word().upper(), f"{home}/patients/{new.word()}", {}, None)

    def read_everything(self) -> str:
        """Ask what authorised readers ask, so that answers are kept and lines are written about it. One question."""
        for path in (
            "patients",
            "analyses",
            "intake",
            "set-aside",
            "revisions",
            "datasets/adsl.csv",
            "charts/spells",
            "patients?limit=500",
        ):
            self.ask("GET", f"/v1/studies/trial/{path}", {}, None)
        page: str | None = "/v1/audit?limit=500"
        while page:  # the audit may name patients, and nothing else that was sent
            page = json.loads(self.ask("GET", page, {}, None, echo=False)[2])["next"]
        revision = json.loads(self.ask("GET", "/v1/studies/trial", {}, None)[2])["revision"]
        question = f"/v1/studies/trial/analyses/response-rates?revision={revision}"
        assert [self.ask("GET", question, {}, None)[0] for _ in range(2)] == [200, 200]
        return question


def timeline(new: Planted, patient: str) -> dict:
    """A patient whose every text and number is planted."""
    lab = {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "unit": "U/L", "upper_limit": 163}
    labs = [
        lab | {"id": new.word(), "lab": new.word(), "value": new.number(), "time": f"2005-03-{day}"} for day in (16, 17)
    ]
    return {
        "patient": {"id": patient},
        "labs": labs,
        "infusions": [{"time": "2005-04-11", "product": "IVIG"}],
        "adverse_events": [{"onset": "2005-04-12", "term": new.word()}],
    }


def broken_timelines(new: Planted) -> Iterator[dict]:
    """Timelines with each kind of fault, every text of which is planted."""
    lab = {"code": "CK", "time": "2005-03-16", "value": new.number(), "unit": "U/L"}
    for wrong in (
        {"code": new.word()}, {"unit": new.word()}, {"time": new.word()}, {"value": new.word()}, {new.word(): 1},
        {"status": new.word()}, {"value": -new.number()}, {"upper_limit": new.word()}, {"id": [new.word()]},
    ):  # fmt: skip
        yield {"patient": {"id": new.id()}, "labs": [lab | wrong]}
    yield {"patient": {"id": f"{new.word()} {new.word()}"}}
    yield {"patient": {"id": new.id(), "sex": new.word(), "birth_year": new.word()}}
    yield {"patient": {"id": new.id()}, new.word(): [new.word(), new.number()]}
    yield {"patient": {"id": new.id()}, "assessments": [{"code": "MMT", "time": "2005-03-16", "score": new.number()}]}
    yield {"patient": {"id": new.id()}, "infusions": [{"time": "2005-01-01" + new.word(), "product": new.word()}]}


def messages(new: Planted) -> Iterator[bytes]:
    """Messages of results and of patients, good and broken."""
    head = rf"MSH|^~\&|LIS|ELAB|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|{new.control()}|P|2.5.1"
    pid = f"PID|1||{new.person()}^^^WARD7||{new.person()}^{new.person()}||19530401|F|||{new.person()}"
    obr = f"OBR|1||{new.word()}^ELAB|CHEM^Chemistry^L|||20050316094800+0900"
    obx = f"OBX|1|NM|2157-6^Creatine kinase^LN||{new.number()}|U/L|30-163|H|||F"
    for wrong in (
        obx,
        obx.replace("U/L", new.word()),
        obx.replace("2157-6", new.word()),
        f"OBX|1|NM|2157-6^CK^LN||{new.word()}|U/L|{new.word()}|H|||{new.word()}",
        f"NTE|1||{new.person()}\r{obx}",
    ):
        yield "\r".join([head, pid, obr, wrong, ""]).encode()
    yield "\r".join([head.replace("ORU^R01", new.word()), pid, obr, obx, ""]).encode()
    yield "\r".join([head, f"PID|1||{new.person()}", ""]).encode()
    yield f"MSH|{new.word()}|{new.person()}".encode()
    yield new.word().encode()


def send_over_mllp(port: int, new: Planted) -> int:
    """Send messages, and a frame that is none; answers are read and not kept. How many were sent."""
    sent = list(messages(new))
    for content in sent:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"\x0b" + content + b"\x1c\r")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(new.word().encode() + b"\r" + new.person().encode())
    return len(sent)


def import_files(work: Path, url: str, new: Planted, rounds: int) -> str:
    """Import good and broken files of each format; what the command writes."""
    folder = work / "import"
    folder.mkdir()
    good = [json.dumps(timeline(new, new.id())) for _ in range(rounds)]
    bad = [json.dumps(each) for _ in range(rounds) for each in broken_timelines(new)] + [new.word()]
    (folder / "a.ndjson").write_text("\n".join(good + bad) + "\n")
    (folder / "b.hl7").write_bytes(b"".join(each + b"\r" for each in messages(new)))
    (folder / "c.csv").write_text(
        f"patient,time,code,value,unit\n{new.id()},{new.word()},CK,{new.number()},{new.word()}\n"
    )
    output = ""
    for file in sorted(folder.glob("[abc].*")):
        study = "ward" if file.suffix == ".hl7" else "trial"  # a number of a hospital becomes a pseudonym
        options = ["--study", study, "--rejects", folder / f"rejects-{file.name}"]
        ended = subprocess.run(
            [sys.executable, "-m", "app", "import", file, *options],
            cwd=ROOT, env=variables(work, url), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode in {0, 1}, ended.stderr
        output += ended.stdout + ended.stderr
    return output


def notes_of(work: Path) -> str:
    """The reasons of an import and the notes of dead letters. What they are about is kept unchanged beside them."""
    notes = [*work.glob("letters/*.json"), *work.glob("import/*reasons*")]
    assert notes, "the control: there are neither notes nor reasons"
    return "".join(path.read_text() for path in notes)


def variables(work: Path, url: str) -> dict[str, str]:
    """The environment of each process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYORESPONSE_")}
    ours = {
        "DATABASE_URL": url, "PORT": "0", "LOG": "json", "PSEUDONYM_SECRET": SECRET,
        "DEAD_LETTERS": str(work / "letters"), "BODY_TIMEOUT_SECONDS": "5",
    }  # fmt: skip
    return (
        kept | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(work / "tmp")} | {f"MYORESPONSE_{k}": v for k, v in ours.items()}
    )


@contextmanager
def process(work: Path, url: str, *command: str) -> Iterator[tuple[int, list[str]]]:
    """A process of the service: its port, and the lines that it has written so far."""
    lines: list[str] = []
    started = subprocess.Popen(
        [sys.executable, "-m", "app", *command],
        cwd=ROOT, env=variables(work, url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    reader = threading.Thread(target=lambda: lines.extend(iter(started.stdout.readline, "")))
    reader.start()
    try:
        port = _waited(lambda: re.search(r'"address": "[^"]*:(\d+)"', "".join(lines)))
        yield int(port[1]), lines
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(timeout=60)
        reader.join()
        started.stdout.close()


def _waited(look: Callable[[], re.Match[str] | None]) -> re.Match[str]:
    for _ in range(6_000):
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("the process did not start")
