"""Bodies with many of one thing (keys, numbers, quotes, segments, entries) are sent to every address that reads a body,
and requests with many parameters and headers; then good bodies that are about as large as are accepted. Each must be
refused or answered without an error of the service. Measured on the server: its processor time, its greatest memory
above that at rest, and how long `/livez` takes meanwhile.
"""

import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.api.test_server import Process, environment, started
from tests.tables import with_tables
from tests.trust.figures import Figure

ASKED_MEMORY = 50_000_000
"""What is asked. The figures say how many requests need more."""
MOST_MEMORY = 150_000_000
"""What no hostile body may need."""
ASKED_WAIT = 0.2
PATIENCE = 600
"""Seconds until a client gives up: longer than any of these bodies needs, so that each has a status."""
SLOWEST = 2.5
"""Seconds of processor time for each megabyte: what storing valid results needs."""
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""The C library gives freed memory back at once, so that what one request leaves does not hide what the next needs."""
HOME, FACADE = "/v1/studies/trial", "/fhir/trial"
NATIVE, LINES, CSV, FHIR, HL7 = (
    {"Content-Type": kind}
    for kind in ("application/json", "application/x-ndjson", "text/csv", "application/fhir+json", "application/hl7-v2")
)
HEADER = b"MSH|^~\\&|LAB|ELAB|MYO|T|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1\rPID|1||P1^^^WARD7\r"
COLUMNS = b"patient,time,code,value,unit\n"


class Sent(NamedTuple):
    """One request with many of something."""

    door: str
    what: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Cost(NamedTuple):
    """What a request cost the server, and its status."""

    status: int
    answered: int
    cpu: float
    memory: int
    wait: float


def repeated(unit: bytes, size: int, between: bytes = b",") -> bytes:
    """As many of a text as fit into a size."""
    return between.join([unit] * max(size // (len(unit) + len(between)), 1))


def numbered(form: bytes, size: int, between: bytes = b",") -> bytes:
    """As many of a text as fit, each with its own number."""
    return between.join(form % number for number in range(max(size // (len(form % 1_000_000) + len(between)), 1)))


def values(size: int) -> Iterator[tuple[str, bytes]]:
    """JSON values with many of something."""
    yield "unknown keys", b"{%s}" % numbered(b'"k%07d":1', size)
    yield "nested unknown keys", b"{%s}" % numbered(b'"k%07d":{"a":{"b":1}}', size)
    yield "equal keys", b"{%s}" % repeated(b'"id":1', size)
    yield "numbers", b"[%s]" % repeated(b"1", size)
    yield "zeros with exponents", b"[%s]" % repeated(b"0e0000", size)
    yield "numbers with exponents", b"[%s]" % repeated(b"1e0001", size)
    yield "great numbers", b"[%s]" % repeated(b"1e999", size)
    yield "digits", b"[%s]" % (b"9" * size)
    yield "empty arrays", b"[%s]" % repeated(b"[]", size)
    yield "empty objects", b"[%s]" % repeated(b"{}", size)
    yield "depth", b"[" * (size // 2) + b"]" * (size // 2)
    yield "depth not closed", b'{"a":' * (size // 5)
    yield "short strings", b"[%s]" % numbered(b'"%07d"', size)
    yield "one string", b'["%s"]' % (b"x" * size)
    yield "wide characters", b'["%s"]' % ("\U0001f600" * (size // 4)).encode()
    yield "escapes", b'["%s"]' % (b"\\u00e9" * (size // 6))
    yield "NULs", b'["%s"]' % (b"\\u0000" * (size // 6))
    yield "backslashes", b'["%s' % (b"\\" * size)
    yield "quotes", b'"' * size
    yield "blanks", b" " * size
    yield "commas", b"[" + b"," * size
    yield "bytes that are no UTF-8", b'["%s"]' % (b"\xff" * size)


def timelines(size: int) -> Iterator[tuple[str, bytes]]:
    """Timelines with many of something."""
    lab = b'{"code":"CK","time":"2005-03-16","value":900,"unit":"U/L"}'
    head = b'{"patient":{"id":"P1"},'
    yield "unknown keys beside a patient", b"%s%s}" % (head, numbered(b'"k%07d":1', size))
    yield "unknown keys in a result", b'%s"labs":[{%s}]}' % (head, numbered(b'"k%07d":1', size))
    yield "unknown keys in a patient", b'{"patient":{"id":"P1",%s}}' % numbered(b'"k%07d":1', size)
    yield "empty results", b'%s"labs":[%s]}' % (head, repeated(b"{}", size))
    yield "results with one key", b'%s"labs":[%s]}' % (head, repeated(b'{"x":1}', size))
    yield "equal results", b'%s"labs":[%s]}' % (head, repeated(lab, size))
    yield "results", b'%s"labs":[%s]}' % (head, numbered(lab.replace(b"{", b'{"id":"%07d",'), size))
    bad = repeated(lab.replace(b"U/L", b"parsec"), size)
    yield "results with a bad unit", b'%s"labs":[%s]}' % (head, bad)
    yield "results, the last one bad", b'%s"labs":[%s,{}]}' % (head, repeated(lab, size))
    series = b'%s"lab_series":[{"code":"CK","unit":"U/L","times":[%s],"values":[%s]}]}'
    yield "times", series % (head, repeated(b'"2005-03-16"', size), b"1")
    yield "values", series % (head, b'"2005-03-16"', repeated(b"1", size))
    yield "values of zero with exponents", series % (head, b'"2005-03-16"', repeated(b"0e0000", size))


def tables(size: int) -> Iterator[tuple[str, bytes]]:
    """Tables with many of something."""
    row = b"P1,2005-03-16,CK,900,U/L"
    yield "columns", repeated(b"patient", size)
    yield "columns of a known name", COLUMNS.strip() + b"," + repeated(b"value", size)
    yield "empty columns", b"," * size
    yield "cells in a row", COLUMNS + b"," * size
    yield "equal rows", COLUMNS + repeated(row, size, b"\n")
    yield "ragged rows", COLUMNS + repeated(b"1,2", size, b"\n")
    yield "short rows", COLUMNS + repeated(b"x", size, b"\n")
    yield "bad rows", COLUMNS + repeated(b"P1,2005,CK,x,y", size, b"\n")
    yield "bad rows of patients", COLUMNS + numbered(b"P%07d,2005,CK,x,y", size, b"\n")
    yield "bad names of patients", COLUMNS + numbered(b"P %07d,2005-03-16,CK,1,U/L", size, b"\n")
    yield "rows of another test", COLUMNS + repeated(b"P1,2005-03-16,ZZZ,1,y", size, b"\n")
    yield "patients", COLUMNS + numbered(b"P%07d,2005-03-16,CK,900,U/L", size, b"\n")
    yield "quotes", COLUMNS + b'"' * size
    yield "quoted cells", COLUMNS + repeated(b'""', size)
    yield "one cell", COLUMNS + b'"' + b"x" * size
    yield "line breaks", b"\n" * size
    yield "carriage returns", COLUMNS + b"\r" * size
    yield "wide characters", COLUMNS + ("\U0001f600" * (size // 4)).encode()
    yield "NULs", COLUMNS + b"\0" * size


def messages(size: int) -> Iterator[tuple[str, bytes]]:
    """HL7 v2 messages with many of something."""
    obx = b"OBX|1|NM|2157-6^CK^LN||1101|U/L|30-163|H|||F"
    obr = b"OBR|1||77^ELAB|CHEM^Chemistry^L|||20050316094800+0900\r"
    yield "results", HEADER + obr + repeated(obx, size, b"\r")
    yield "headers", repeated(HEADER.strip(), size, b"\r")
    yield "short headers", repeated(b"MSH|^~\\&|", size, b"\r")
    yield "empty segments", HEADER + repeated(b"OBX", size, b"\r")
    yield "unknown segments", HEADER + repeated(b"ZZZ|1", size, b"\r")
    yield (
        "kinds of segments",
        HEADER + b"\r".join(b"Z%c%c|" % (65 + n % 26, 65 + n // 26 % 26) for n in range(size // 5)),
    )
    yield "lines that are no segments", HEADER + repeated(b"x", size, b"\r")
    for name, mark in (("fields", b"|"), ("repetitions", b"~"), ("components", b"^"), ("subcomponents", b"&")):
        yield name, HEADER + obr + b"OBX|1|NM|" + mark * size
    yield "escapes", HEADER + obr + b"OBX|1|ST|2157-6^CK^LN||" + b"\\F\\" * (size // 3)
    yield "half escapes", HEADER + obr + b"OBX|1|ST|2157-6^CK^LN||" + b"\\" * size
    yield "one field", HEADER + obr + b"OBX|1|ST|2157-6^CK^LN||" + b"x" * size
    yield "line ends", b"\r" * size
    yield "byte order marks", b"\xef\xbb\xbf" * (size // 3)
    yield "undecoded bytes", HEADER + obr + b"OBX|1|ST|2157-6^CK^LN||" + b"\xff" * size
    yield "batch headers", repeated(b"BHS|^~\\&|", size, b"\r")


def bundles(size: int) -> Iterator[tuple[str, bytes]]:
    """FHIR bundles with many of something."""
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
        "subject": {"identifier": {"value": "P1"}},
        "effectiveDateTime": "2005-03-16",
        "valueQuantity": {"value": 900, "code": "U/L", "system": "http://unitsofmeasure.org"},
    }

    def bundle(entries: bytes, kind: bytes = b"batch") -> bytes:
        return b'{"resourceType":"Bundle","type":"%s","entry":[%s]}' % (kind, entries)

    def entry(**more: object) -> bytes:
        request = {"method": "POST", "url": "Observation"}
        return json.dumps({"resource": resource | more, "request": request}, separators=(",", ":")).encode()

    def within(name: str, items: bytes) -> bytes:
        return bundle(entry(**{name: "HERE"}).replace(b'"HERE"', b"[%s]" % items))

    yield "entries", bundle(repeated(entry(), size))
    yield "empty entries", bundle(repeated(b"{}", size))
    yield "entries that are numbers", bundle(repeated(b"1", size))
    yield "entries of a transaction", bundle(repeated(b"{}", size), b"transaction")
    yield "extensions", within("extension", repeated(b'{"url":"u","valueString":"x"}', size))
    yield "modifier extensions", within("modifierExtension", repeated(b'{"url":"u"}', size))
    yield "contained", within("contained", repeated(b'{"resourceType":"Patient","id":"p"}', size))
    coding = repeated(b'{"system":"s","code":"c"}', size)
    yield "codings", bundle(entry(code={"coding": ["HERE"]}).replace(b'"HERE"', coding))
    yield "components", within("component", repeated(b'{"code":{"coding":[{"code":"c"}]}}', size))
    yield "identifiers", within("identifier", repeated(b'{"value":"1"}', size))
    yield "notes", within("note", repeated(b'{"text":"1"}', size))
    yield "members of a panel", within("hasMember", repeated(b'{"reference":"Observation/1"}', size))
    yield "keys of a resource", bundle(b'{"resource":{"resourceType":"Observation",%s}}' % numbered(b'"k%07d":1', size))
    yield (
        "patients",
        bundle(numbered(b'{"fullUrl":"urn:uuid:%07d","resource":{"resourceType":"Patient","id":"p"}}', size)),
    )


def requests(size: int) -> Iterator[Sent]:
    """Every request; bodies have about `size` bytes."""
    doors: list[tuple[str, str, dict[str, str], list[Callable[[int], Iterator[tuple[str, bytes]]]]]] = [
        ("POST", f"{HOME}/patients/P1/events", NATIVE, [values, timelines]),
        ("PUT", f"{HOME}/patients/P1", NATIVE, [timelines]),
        ("POST", f"{HOME}/timelines", NATIVE, [values]),
        ("POST", f"{HOME}/timelines", LINES, [values, timelines]),
        ("POST", "/v1/analyses", NATIVE, [values]),
        ("POST", f"{HOME}/labs", CSV, [tables]),
        ("POST", f"{HOME}/hl7v2", HL7, [messages]),
        ("POST", FACADE, FHIR, [values, bundles]),
        ("POST", f"{FACADE}/Observation", FHIR, [values]),
        ("PUT", "/v1/studies/trial/protocol", NATIVE, [values]),
    ]
    for method, path, headers, kinds in doors:
        door = f"{method} {path} {headers['Content-Type'].removeprefix('application/')}"
        for kind in kinds:
            for what, body in kind(size):
                yield Sent(door, what, method, path, headers, body)
    array, lines = f"{HOME}/timelines", f"POST {HOME}/timelines x-ndjson"
    for what, body in timelines(size):
        yield Sent(f"POST {array} array", what, "POST", array, NATIVE, b"[%s]" % body)
    for what, line in (("lines of a number", b"1"), ("lines of an object", b"{}"), ("lines of a bracket", b"[")):
        yield Sent(lines, what, "POST", array, LINES, repeated(line, size, b"\n"))
    for what, item in (("timelines that are numbers", b"1"), ("timelines that are empty", b"{}")):
        yield Sent(f"POST {array} array", what, "POST", array, NATIVE, b"[%s]" % repeated(item, size))
    for what, asked in (
        ("unknown parameters", numbered(b"k%d=1", 7_900, b"&")),
        ("equal parameters", repeated(b"limit=1", 7_900, b"&")),
        ("ampersands", b"&" * 7_900),
        ("percent signs", b"%" * 7_900),
    ):
        yield Sent("GET /v1/studies", what, "GET", f"/v1/studies?{asked.decode()}", {}, b"")
    names = {f"X-{number}": "1" for number in range(90)}
    yield Sent("GET /v1/studies", "headers", "GET", "/v1/studies", names, b"")
    yield Sent("GET /v1/studies", "tags", "GET", "/v1/studies", {"If-None-Match": '"x",' * 7_000}, b"")
    yield Sent("GET /v1/studies", "accepted types", "GET", "/v1/studies", {"Accept": "a/b;q=0.1," * 3_000}, b"")


def moment(number: int) -> bytes:
    """A minute of its own for each of 480,000 results."""
    day, minute = divmod(number, 1440)
    return b"2005-%02d-%02dT%02d:%02d:00+09:00" % (day // 28 % 12 + 1, day % 28 + 1, *divmod(minute, 60))


def columns_of(patient: int, count: int) -> bytes:
    """A timeline with so many results as columns."""
    times = b",".join(b'"%s"' % moment(number) for number in range(count))
    numbers = b",".join(b"%d" % (number % 1000 + 1) for number in range(count))
    head = b'{"patient":{"id":"L%d"},"lab_series":[{"code":"CK","unit":"U/L"' % patient
    return b'%s,"times":[%s],"values":[%s]}]}' % (head, times, numbers)


def largest(share: int = 1) -> Iterator[Sent]:
    """Good bodies, one of each kind, about as large as are accepted, or a part of that."""
    labs = b",".join(
        b'{"id":"%07d","code":"CK","time":"%s","value":%d,"unit":"U/L","upper_limit":163}'
        % (number, moment(number), number % 50 + 200)
        for number in range(50_000 // share)
    )
    alike = b",".join(
        b'{"id":"%07d","code":"CK","time":"2005-03-16","value":900,"unit":"U/L"}' % number
        for number in range(50_000 // share)
    )
    lines = [columns_of(20 + patient, 9_990 // share) for patient in range(5)]
    for patient, what, body in (
        (1, "50,000 results", b'{"patient":{"id":"L1"},"labs":[%s]}' % labs),
        (2, "50,000 equal results with numbers of their own", b'{"patient":{"id":"L2"},"labs":[%s]}' % alike),
        (3, "50,000 results as columns", columns_of(3, 50_000 // share)),
    ):
        path = f"{HOME}/patients/L{patient}/events"
        yield Sent(f"POST {path} json", f"good: {what}", "POST", path, NATIVE, body)
    path = f"{HOME}/timelines"
    yield Sent(f"POST {path} array", "good: 5 x 9,990 results", "POST", path, NATIVE, b"[%s]" % b",".join(lines))
    small = (columns_of(1000 + patient, 1) for patient in range(25_000 // share))
    yield Sent(f"POST {path} array", "good: 25,000 timelines", "POST", path, NATIVE, b"[%s]" % b",".join(small))
    path += "?atomic=true"
    yield Sent(f"POST {path} x-ndjson", "good: 5 x 9,990 results", "POST", path, LINES, b"\n".join(lines))
    path = f"{HOME}/labs"
    for first, rows in ((1, 100_000), (2, 250_000)):
        table = (b"T%d-%d,%s,CK,%d,U/L" % (first, n // 10, moment(n), n % 10 + 300) for n in range(rows // share))
        yield Sent(f"POST {path} csv", f"good: {rows:,} rows", "POST", path, CSV, COLUMNS + b"\n".join(table))
    entry = (
        b'{"resource":{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org",'
        b'"code":"2157-6"}]},"subject":{"identifier":{"value":"F%d-%d"}},"effectiveDateTime":"%s","valueQuantity":'
        b'{"value":900,"code":"U/L","system":"http://unitsofmeasure.org"}},"request":{"method":"POST","url":'
        b'"Observation"}}'
    )
    for first, (kind, about) in enumerate(((b"transaction", 1), (b"batch", 100), (b"batch", 1))):
        entries = b",".join(entry % (first, n % about, moment(n)) for n in range(8_000 // share))
        body = b'{"resourceType":"Bundle","type":"%s","entry":[%s]}' % (kind, entries)
        what = f"good: {kind.decode()} of 8,000 entries about {about} patients"
        yield Sent(f"POST {FACADE} fhir+json", what, "POST", FACADE, FHIR, body)


class Meter:
    """Measures a running server."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self._folder = Path(f"/proc/{server.process.pid}")
        self.waits: list[float] = []
        self._stopped = threading.Event()

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def memory(self, name: str) -> int:
        """`VmRSS` is the memory now, `VmHWM` the greatest since `forget`; in bytes."""
        line = next(line for line in (self._folder / "status").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def forget(self) -> None:
        """The greatest memory is counted anew."""
        (self._folder / "clear_refs").write_text("5")

    def probe(self) -> None:
        """Ask `/livez` again and again until `stop`."""
        while not self._stopped.is_set():
            began = time.monotonic()
            with suppress(OSError, http.client.HTTPException):
                self._server.ask("GET", "/livez")
            self.waits.append(time.monotonic() - began)
            self._stopped.wait(0.02)

    def stop(self) -> None:
        """End the probes."""
        self._stopped.set()


def send(server: Process, sent: Sent) -> tuple[int, int]:
    """The status and the size of the answer; a server that closes early is 0."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    status, size = 0, 0
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(sent.method, sent.path, sent.body or None, sent.headers)
    with suppress(OSError, http.client.HTTPException):
        answer = connection.getresponse()
        status, size = answer.status, len(answer.read())
    connection.close()
    return status, size


def cost(server: Process, meter: Meter, sent: Sent) -> Cost:
    """Send it and measure."""
    meter.waits.clear()
    rest = meter.memory("VmRSS")
    meter.forget()
    before = meter.cpu()
    status, answered = send(server, sent)
    return Cost(status, answered, meter.cpu() - before, meter.memory("VmHWM") - rest, max(meter.waits, default=0.0))


def measured(sending: Iterable[Sent]) -> Iterator[tuple[Sent, Cost]]:
    """Each of these requests with its cost."""
    with tempfile.TemporaryDirectory() as folder:
        url = with_tables(f"sqlite:///{folder}/many.db")
        with started([sys.executable, "-m", "app"], environment(url) | GIVEN_BACK) as server:
            for study in ("trial", "first"):
                declared = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"}
                server.ask("PUT", f"/v1/studies/{study}", declared)
            server.ask("GET", f"{HOME}/analyses/report")
            for sent in largest(1_000):  # imports and caches are paid once, by the first request of each kind
                send(server, sent._replace(path=sent.path.replace("/trial", "/first")))
            meter = Meter(server)
            probing = threading.Thread(target=meter.probe)
            probing.start()
            try:
                for sent in sending:
                    yield sent, cost(server, meter, sent)
            finally:
                meter.stop()
                probing.join()


def told(sent: Sent, found: Cost) -> str:
    """The measures of a request as a line."""
    size = (len(sent.body) or len(sent.path)) / 1e6
    return (
        f"{found.status} {found.cpu:6.2f} s {found.memory / 1e6:5.0f} MB {found.wait * 1000:5.0f} ms "
        f"{found.answered / 1e6:6.2f} of {size:.2f} MB {sent.door}: {sent.what}"
    )


def run(full: bool) -> list[Figure]:
    """Every request with its cost. Raises where the service failed, or a hostile body used too much memory."""
    if full:
        hostile = [each for size in (15_000_000, 1_900_000) for each in measured(requests(size))]
        good = list(measured(largest()))
    else:  # one server for both
        some = list(itertools.islice(requests(300_000), 0, None, 24))
        both = list(measured([*some, *largest(200)]))
        hostile, good = both[: len(some)], both[len(some) :]
    found = hostile + good
    failed = [told(*each) for each in found if not 200 <= each[1].status < 500]
    failed += [told(*each) for each in good if not 200 <= each[1].status < 300]
    heavy = [told(*each) for each in hostile if each[1].memory > MOST_MEMORY]
    if failed or heavy:
        raise AssertionError("\n".join([*failed, *heavy]))
    refused = [cost for _, cost in hostile if cost.status >= 400]
    return [
        Figure(
            "P14",
            "requests with many of one thing, at all addresses",
            f"{len(hostile)}, {len(refused)} refused, 0 failed",
        ),
        Figure("P14", "good bodies about as large as are accepted", f"{len(good)}, 0 refused, 0 failed"),
        *(figure for name, group in (("hostile", hostile), ("good", good)) for figure in _worst(name, group)),
    ]


def _worst(name: str, group: list[tuple[Sent, Cost]]) -> list[Figure]:
    """The dearest requests of a group, and how many need more than is asked."""
    heaviest = max(group, key=lambda each: each[1].memory)
    per_byte = max(group, key=lambda each: each[1].cpu / max(len(each[0].body), 100_000))
    longest = max(group, key=lambda each: each[1].wait)
    heavy = sum(cost.memory > ASKED_MEMORY for _, cost in group)
    late = sum(cost.wait > ASKED_WAIT for _, cost in group)
    slow = sum(cost.cpu > 5 + SLOWEST * len(sent.body) / 1e6 for sent, cost in group)
    return [
        Figure("P14", f"{name}: above {ASKED_MEMORY / 1e6:.0f} MB (asked: none), of {len(group)}", str(heavy)),
        Figure("P14", f"{name}: most memory above rest", told(*heaviest)),
        Figure("P14", f"{name}: most processor time", f"{max(cost.cpu for _, cost in group):.1f} s"),
        Figure("P14", f"{name}: more than 5 s and {SLOWEST} s for each MB of processor time", str(slow)),
        Figure("P14", f"{name}: most processor time for its size", told(*per_byte)),
        Figure("P14", f"{name}: a `/livez` above {ASKED_WAIT * 1000:.0f} ms meanwhile (asked: none)", str(late)),
        Figure("P14", f"{name}: longest wait for `/livez`", told(*longest)),
    ]


if __name__ == "__main__":
    asked, wanted = sys.argv[1], "".join(sys.argv[2:])
    every = largest() if asked == "largest" else requests(int(asked))
    for each, spent in measured(one for one in every if wanted in f"{one.door} {one.what}"):
        print(told(each, spent), flush=True)
