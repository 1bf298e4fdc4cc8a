"""The catalogue of bad input, rows 1 to 77: HTTP and JSON, times, the domain.

The numbers are those of the research note this list comes from. Where the design answers differently from the note the
row says so. A row is tried, or it says why it does not apply. What is refused is refused with its place and its code,
repeats nothing of what was sent, and stores nothing.
"""

import gzip
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.test_server import Process
from tests.catalogue.service import (
    BODY,
    CANARY,
    LINES,
    NUMBER,
    Trial,
    counted,
    first_line,
    head,
    infusion,
    lab,
    labs,
    lacks_nothing,
    text_of,
    timeline,
)


@dataclass(frozen=True)
class Refused:
    """A request that must be refused, and how."""

    body: Any
    status: int = 422
    faults: tuple[tuple[str, str], ...] = ()
    path: str = "patients/P1/events"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: BODY)
    answer_headers: tuple[str, ...] = ()
    kind: str | None = None

    @property
    def slug(self) -> str:
        return self.kind or SLUGS[self.status]

    def check(self, trial: Trial) -> None:
        before = trial.stored()
        body = None if self.body is None else text_of(self.body)
        answer = trial.client.request(self.method, trial.address(self.path), content=body, headers=self.headers)
        assert answer.status_code == self.status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = {} if self.method == "HEAD" else answer.json()
        if problem:
            assert set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
            assert (problem["type"], problem["status"]) == (f"/problems/{self.slug}", self.status)
            assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", problem.pop("instance"))
            assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == sorted(self.faults)
            assert lacks_nothing(problem), problem
        assert all(name in answer.headers for name in self.answer_headers)
        said = json.dumps(problem) + "".join(
            v for k, v in answer.headers.items() if k not in {"date", "content-length", "x-request-id"}
        )
        assert "canary" not in said.lower()
        assert "7391" not in said
        assert trial.stored() == before


@dataclass(frozen=True)
class Tried:
    """Something that is accepted, or takes more than one request to see."""

    check: Callable[[Trial], None]


@dataclass(frozen=True)
class OnTheWire:
    """Something that only shows between two sockets."""

    check: Callable[[Process], None]


@dataclass(frozen=True)
class NotApplicable:
    """Why a row is not tried."""

    reason: str


@dataclass(frozen=True)
class Row:
    """One row of the catalogue."""

    number: int
    what: str
    tries: tuple[Refused | Tried | OnTheWire | NotApplicable, ...]


SLUGS = {
    400: "malformed",
    404: "not-found",
    405: "method-not-allowed",
    412: "precondition-failed",
    413: "too-large",
    414: "address-too-long",
    415: "unsupported-media-type",
    422: "invalid",
    431: "headers-too-large",
}


def row(number: int, what: str, *tries: Refused | Tried | OnTheWire | NotApplicable) -> Row:
    return Row(number, what, tries)


def malformed(body: bytes, code: str = "malformed", **more: Any) -> Refused:
    return Refused(body, 400, (("", code),), **more)


def result(fault: str, place: str = "/labs/0/value", /, **fields: Any) -> Refused:
    """A result with a fault."""
    return Refused(labs(lab(**fields)), faults=((place, fault),))


def drawn(code: str, time: Any) -> Refused:
    """A result with a fault in its time."""
    return result(code, "/labs/0/time", time=time)


def with_value(written: str) -> bytes:
    """A result whose value is written as Python would not write it."""
    return json.dumps(labs(lab(value=555))).replace("555", written, 1).encode()


def named(patient: str) -> Refused:
    """A timeline of a patient with an impossible identifier."""
    return Refused(labs(patient=patient), faults=(("/patient/id", "bad_identifier"),))


# 3a. HTTP and JSON


def minus_zero_is_zero(trial: Trial) -> None:
    trial.accepted(labs(lab(value=-0.0, lower_limit=-0.0)))
    assert "-0" not in json.dumps(trial.read()["labs"][1]["value"])
    assert trial.digest(labs(lab(value=-0.0))) == trial.digest(labs(lab(value=0.0)))


def an_empty_batch_is_no_outcomes(trial: Trial) -> None:
    before = trial.stored()
    answer = trial.client.post(f"{trial.home}/timelines", content=b"[]", headers=BODY)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    for body in (b"", b"\n\n"):
        answer = trial.client.post(f"{trial.home}/timelines", content=body, headers=LINES)
        assert (answer.status_code, answer.json()["counts"]) == (200, {})
    assert trial.stored() == before


def other_marks_are_kept_in_text(trial: Trial) -> None:
    term = "head\u202eache \u200b\u00e9 e\u0301 \U0001f642"
    trial.accepted(timeline(adverse_events=[{"term": term}]))
    assert trial.read()["adverse_events"][0]["term"] == term


def commands_are_plain_text(trial: Trial) -> None:
    terms = ["'; DROP TABLE patients; --", "${jndi:ldap://x}", "{{7*7}}", "<script>alert(1)</script>", '"\\', "=1+1"]
    trial.accepted(timeline(adverse_events=[{"term": term} for term in terms]))
    assert sorted(event["term"] for event in trial.read()["adverse_events"]) == sorted(terms)


def announced_as_large(server: Process) -> None:
    asked = head(server, "POST", "/v1/analyses", "Content-Type: application/json", "Content-Length: 100000000")
    answer = server.raw(asked)
    assert first_line(answer).startswith("HTTP/1.1 413")
    assert b"/problems/too-large" in answer


def endless(server: Process) -> None:
    asked = head(server, "POST", "/v1/analyses", "Content-Type: application/json", "Transfer-Encoding: chunked")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        # At once, for the server has little patience. Just beyond the limit; the last chunk never comes.
        connection.sendall(asked + (b"1000\r\n" + b" " * 0x1000 + b"\r\n") * 26)
        answer = b""
        while b"/problems/too-large" not in answer:
            part = connection.recv(65536)
            assert part, answer
            answer += part
    assert first_line(answer).startswith("HTTP/1.1 413")
    assert b"/problems/too-large" in answer


def in_an_address(server: Process) -> None:
    for name, status, code in (
        (f"{CANARY}%2Fb", 400, None),
        ("%2e%2e", 400, None),
        (f"{CANARY}%00b", 400, None),
        (f"{CANARY}%250a", 400, None),
        (f"{CANARY}%0d%0aX-Injected:1", 400, None),
        ("%ff", 422, "bad_identifier"),
    ):
        answer = server.raw(head(server, "GET", f"/v1/studies/demo/patients/{name}", "Connection: close"))
        assert first_line(answer).startswith(f"HTTP/1.1 {status}"), name
        assert code is None or f'"{code}"'.encode() in answer
        assert b"canary" not in answer
        assert b"X-Injected" not in answer


def nul_in_a_header(server: Process) -> None:
    answer = server.raw(head(server, "GET", "/livez", f"X-Name: {CANARY}\0", "Connection: close"))
    assert first_line(answer).startswith("HTTP/1.1 400")
    assert b"canary" not in answer


def line_breaks_in_a_header(server: Process) -> None:
    for broken in (f"X-Name: a\r{CANARY}", f"X-Name : {CANARY}", f"\n {CANARY}"):
        answer = server.raw(head(server, "GET", "/livez", broken, "Connection: close"))
        assert b"canary" not in answer
        assert not first_line(answer).startswith("HTTP/1.1 5")
    path = f"/v1/studies/demo/patients/a%0aevent=request%20{CANARY}"
    server.raw(head(server, "GET", path, "Connection: close"))
    server.wait_for(r"route=- status=400")
    assert CANARY not in "".join(server.lines)
    assert [line for line in server.lines if line.startswith("event=")] == []


def both_lengths(server: Process) -> None:
    asked = head(
        server,
        "POST",
        "/v1/analyses",
        "Content-Type: application/json",
        "Content-Length: 6",
        "Transfer-Encoding: chunked",
    )
    answer = server.raw(asked + b"0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n")
    assert first_line(answer).startswith("HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def slow(server: Process) -> None:
    asked = head(server, "POST", "/v1/analyses", "Content-Type: application/json", "Content-Length: 100")
    began = time.monotonic()
    answer = server.raw(asked + b'{"protocol"')
    assert first_line(answer).startswith("HTTP/1.1 408")
    assert b"/problems/body-timeout" in answer
    assert 0.4 < time.monotonic() - began < 10


def expecting(server: Process) -> None:
    asked = head(
        server, "POST", "/v1/analyses", "Content-Type: application/json", "Content-Length: 100", "Expect: 100-continue"
    )
    answer = server.raw(asked)
    assert answer.split(b"\r\n\r\n", 1)[0] == b"HTTP/1.1 100 Continue" or first_line(answer).startswith("HTTP/1.1 408")
    assert b"HTTP/1.1 408" in answer


def leaving(server: Process) -> None:
    status, _ = server.ask("PUT", "/v1/studies/leaving", {"name": "Trial", "protocol": "seed-2008"})
    assert status == 201
    body = text_of(labs(lab()))
    asked = head(
        server, "POST", "/v1/studies/leaving/patients/P1/events", "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )  # fmt: skip
    for sent in (asked, asked + body[:40]):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(sent)
    assert json.loads(server.ask("GET", "/v1/studies/leaving/patients")[1])["items"] == []
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(asked + body)  # whole, but nobody waits for the answer
    deadline = time.monotonic() + 60
    while not (found := json.loads(server.ask("GET", "/v1/studies/leaving/patients")[1])["items"]):
        assert time.monotonic() < deadline
    assert found == [{"patient": {"id": "P1"}, "counts": found[0]["counts"]}]
    assert "event=failure" not in "".join(server.lines)


def preconditions(trial: Trial) -> None:
    trial.accepted(labs(lab()))
    here = f"{trial.home}/patients/P1"
    etag = trial.client.get(here).headers["etag"]
    before = trial.stored()
    document = text_of(labs(lab(value=1)))
    for path, given, status in (
        (here, f"W/{etag}", 412),
        (here, f'"{CANARY}"', 412),
        (here, None, 428),
        (f"{trial.home}/patients/absent", "*", 412),
    ):
        sent = document.replace(b'"P1"', b'"absent"') if path.endswith("absent") else document
        answer = trial.client.put(path, content=sent, headers=BODY | ({"If-Match": given} if given else {}))
        assert answer.status_code == status, answer.text
        assert "canary" not in answer.text
    assert trial.stored() == before
    assert trial.client.put(here, content=document, headers=BODY | {"If-Match": etag}).status_code == 200


def get(path: str, *faults: tuple[str, str], status: int = 422) -> Refused:
    return Refused(None, status, faults, path=path, method="GET", headers={})


NESTED = b'{"patient": {"id": "P1"}, "x": ' + b"[" * 20 + f'"{CANARY}"'.encode() + b"]" * 20 + b"}"
NESTED_FAR = NESTED.replace(b"[" * 20, b"[" * 900).replace(b"]" * 20, b"]" * 900)
GOOD = json.dumps(labs(lab())).encode()
ROWS_OF_JSON = [
    row(1, "NaN, Infinity", *(malformed(with_value(w)) for w in ("NaN", "Infinity", "-Infinity"))),
    row(2, "1e400", *(Refused(with_value(w), faults=(("/labs/0/value", "not_finite"),)) for w in ("1e400", "-1E+400"))),
    row(
        3,
        "1e-400",
        Refused(with_value("1e-400"), faults=(("/labs/0/value", "not_finite"),)),
        Refused(with_value("0." + "0" * 400 + "1"), faults=(("/labs/0/value", "not_finite"),)),
    ),
    row(4, "-0.0 as a CK", Tried(minus_zero_is_zero)),
    row(
        5,
        "numbers in quotation marks",
        *(result("wrong_type", value=w) for w in ("1.5", " 1.5 ", "1_000", f"{NUMBER}")),
        malformed(with_value("1_000")),
    ),
    row(6, "true as a number", result("wrong_type", value=True)),
    row(
        7,
        "an integer of 30 digits",
        result("out_of_range", value=10**29),
        result("out_of_range", "/labs/0/version", version=10**29),
    ),
    row(8, "an integer of 5,000 digits", malformed(with_value("9" * 5_000))),
    row(
        9,
        "a key twice",
        malformed(GOOD.replace(b'"unit"', b'"value": 1, "unit"', 1), "duplicate_key"),
        malformed(b'{"patient": {"id": "P1"}, "patient": {"id": "canary"}}', "duplicate_key"),
        malformed(b'{"name": "a", "name": "a", "protocol": "seed-2008"}', "duplicate_key", path="", method="PUT"),
    ),
    row(10, "nested 100,000 deep", malformed(b"[" * 100_000), malformed(b'{"a":' * 33 + b"1" + b"}" * 33)),
    row(
        11,
        "nested in an unknown field; beyond 32 levels row 10 comes first",
        Refused(NESTED, faults=(("", "unknown_field"),)),
        malformed(NESTED_FAR),
    ),
    row(12, "100 MB announced", OnTheWire(announced_as_large)),
    row(13, "endless chunks", OnTheWire(endless)),
    row(
        14,
        "gzip bomb",
        Refused(
            gzip.compress(b" " * 10_000_000),
            415,
            headers=BODY | {"Content-Encoding": "gzip"},
            answer_headers=("accept-encoding",),
        ),
    ),
    row(
        15,
        "no JSON by its own account",
        *(
            Refused(GOOD, 415, headers={"Content-Type": kind} if kind else {}, answer_headers=("accept-post",))
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=canary", "")
        ),
    ),
    row(
        16,
        "JSON in Latin-1",
        Refused(
            '{"patient": {"id": "\u00e4"}}'.encode("latin-1"),
            415,
            headers={"Content-Type": "application/json; charset=iso-8859-1"},
        ),
    ),
    row(
        17,
        "two byte order marks, UTF-16",
        malformed(b"\xef\xbb\xbf" * 2 + GOOD),
        malformed(GOOD.decode().encode("utf-16"), "unknown_encoding"),
        malformed(GOOD.decode().encode("utf-16-le"), "unknown_encoding"),
    ),
    row(18, "lone surrogate", malformed(GOOD.replace(b'"canary', b'"\\ud800canary')), malformed(b'{"\\udfff": 1}')),
    row(
        19,
        "NUL",
        result("bad_text", "/labs/0/lab", lab=f"{CANARY}\0"),
        Refused(timeline(adverse_events=[{"term": f"\0{CANARY}"}]), faults=(("/adverse_events/0/term", "bad_text"),)),
        Refused({"name": "a\0", "protocol": "seed-2008"}, faults=(("/name", "bad_text"),), path="", method="PUT"),
        Refused(
            {
                "id": "x",
                "title": f"{CANARY}\0",
                "scales": {"MMT": {"maximum": 100, "better": "higher"}, "ADL": {"maximum": 50, "better": "higher"}},
            },
            faults=(("/title", "bad_text"),),
            path="protocol",
            method="PUT",
        ),
        Refused(None, 400, path=f"patients/{CANARY}%00", method="GET", headers={}, kind="ambiguous-address"),
        Refused(GOOD, faults=(("/query/atomic", "unknown_value"),), path=f"timelines?atomic={CANARY}%00"),
        OnTheWire(nul_in_a_header),
    ),
    row(
        20,
        "other control characters and invisible marks",
        *(named(f"{CANARY}{mark}") for mark in ("\n", "\x1b", "\x7f", "\x85", "\u202e", "\u200b", "\ufeff")),
        *(result("bad_text", "/labs/0/lab", lab=f"{CANARY}{mark}") for mark in ("\n", "\x1b", "\x7f", "\x85")),
        Tried(other_marks_are_kept_in_text),
    ),
    row(21, "composed and decomposed letters in an identifier", named("canary\u00e9"), named("canarye\u0301")),
    row(
        22,
        "empty body, null, []",
        malformed(b""),
        malformed(b" \r\n\t"),
        Refused(b"null", faults=(("", "wrong_type"),)),
        Refused(b"[]", faults=(("", "wrong_type"),)),
        Refused(b"null", faults=(("", "wrong_type"),), path="timelines"),
        Tried(an_empty_batch_is_no_outcomes),
    ),
    row(
        23,
        "nearly JSON",
        malformed(GOOD[:-1]),
        malformed(GOOD[: len(GOOD) // 2]),
        malformed(GOOD[:-1] + b",}"),
        malformed(GOOD.replace(b'"', b"'")),
        malformed(b"/* canary */" + GOOD),
        malformed(GOOD + b" canary"),
        malformed(GOOD + GOOD),
    ),
    row(
        24,
        "unknown fields",
        Refused(timeline() | {"patientID": CANARY}, faults=(("", "unknown_field"),)),
        Refused(timeline() | {CANARY: 1}, faults=(("", "unknown_field"),)),
        result("unknown_field", "/labs/0", ULN=163),
        Refused(
            {"name": CANARY, "protocol": "seed-2008", "timezone": "Asia/Tokyo"},
            faults=(("", "unknown_field"),),
            path="",
            method="PUT",
        ),
        get("patients?canary=1", ("/query", "unknown_parameter")),
    ),
    row(
        25,
        "identifier of 1 MB, address of 10,000 characters, header of 1 MB",
        named("x" * 1_000_000),
        get("patients/" + "x" * 10_000, status=414),
        Refused(None, 431, method="GET", path="patients", headers={"X-Canary": "x" * 1_000_000}),
    ),
    row(26, "encoded characters in an address", OnTheWire(in_an_address)),
    row(
        27,
        "commands of other languages",
        *(named(f"canary{each}") for each in ("'; DROP TABLE x", "${jndi:ldap://x}", "{{7*7}}", "<script>")),
        Tried(commands_are_plain_text),
    ),
    row(28, "line breaks in headers and identifiers", named("canary\r\n"), OnTheWire(line_breaks_in_a_header)),
    row(29, "two lengths of one body", OnTheWire(both_lengths)),
    row(30, "a body that stops arriving", OnTheWire(slow)),
    row(31, "a body that is announced and never comes", OnTheWire(expecting)),
    row(
        32,
        "Idempotency-Key",
        NotApplicable(
            "The service does not read the header yet: a replay makes no revision because of what it says, so there is "
            "no key that could be missing, too long, reused or in flight."
        ),
    ),
    row(33, "preconditions that do not hold", Tried(preconditions)),
    row(
        34,
        "pages",
        get("patients?limit=-1", ("/query/limit", "out_of_range")),
        get("patients?limit=0", ("/query/limit", "out_of_range")),
        get("patients?limit=" + "7" * 400, ("/query/limit", "out_of_range")),
        get("patients?limit=canary", ("/query/limit", "wrong_type")),
        get("patients?limit=1&limit=2", ("/query/limit", "repeated_parameter")),
        get(f"patients?cursor={CANARY}", ("/query/cursor", "malformed"), status=400),
    ),
    row(
        35,
        "methods that an address does not have",
        *(
            Refused(None, 405, method=method, path=path, headers={}, answer_headers=("allow",))
            for method, path in (
                ("TRACE", "patients"),
                ("CANARY", "patients"),
                ("HEAD", "patients/P1/events"),
                ("GET", "timelines"),
                ("PATCH", "patients/P1"),
            )
        ),
    ),
    row(36, "a client that leaves", OnTheWire(leaving)),
]


# 3b. Times


def dates_stay_dates(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(time="2005-03-16")]))
    assert [each["time"] for each in trial.read()["labs"]] == ["2005-03-16"]


def minus_zero_offset_is_utc(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(time="2005-03-16T09:00:00-00:00")]))
    for written, flagged in (("-00:00", 1), ("Z", 1), ("+00:00", 0)):
        analysis = trial.analysis("weekly-change", timeline(labs=[lab(time=f"2005-03-16T09:00:00{written}")],
                                                            infusions=[infusion()]))  # fmt: skip
        assert counted(analysis, "flags", "utc_day") == flagged


def nine_digits_are_kept_as_written(trial: Trial) -> None:
    written = "2005-03-16T09:00:00.123456789+09:00"
    trial.accepted(timeline(labs=[lab(time=written)]))
    assert [each["time"] for each in trial.read()["labs"]] == [written]


def a_clock_may_run_ahead(trial: Trial) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=23)
    trial.accepted(timeline(labs=[lab(time=ahead.isoformat(timespec="seconds"))]))


def with_an_offset_every_hour_is_one_hour(trial: Trial) -> None:
    spring = [
        lab(time=f"2005-04-03T0{hour}:30:00-0{offset}:00", value=hour) for hour, offset in ((1, 5), (2, 5), (3, 4))
    ]
    autumn = [lab(time=f"2005-10-30T01:30:00-0{offset}:00", value=offset) for offset in (4, 5)]
    trial.accepted(timeline(labs=[*spring[:2], *autumn]))
    assert len(trial.read()["labs"]) == 4
    one_instant = trial.post(timeline(labs=[spring[1], spring[2]]))
    assert [fault["code"] for fault in one_instant.json()["errors"]] == ["conflicting_duplicate"]


ROWS_OF_TIMES = [
    row(
        37,
        "days that do not exist",
        *(drawn("bad_time", t) for t in ("2023-02-30", "2023-13-01", "2023-02-29T10:00:00Z")),
    ),
    row(38, "24:00", drawn("bad_time", "2023-02-03T24:00:00Z")),
    row(
        39,
        "leap second: the note would keep and flag it, as FHIR does; our own format has no flag for it and refuses it",
        drawn("bad_time", "2016-12-31T23:59:60Z"),
    ),
    row(
        40,
        "no offset",
        drawn("no_offset", "2023-02-03T10:00:00"),
        result("no_offset", "/labs/0/issued", issued="2023-02-03T10:00:00"),
    ),
    row(41, "a date for a time", Tried(dates_stay_dates)),
    row(
        42,
        "a month, a year: the note would keep them out of interval arithmetic; the design knows dates and times only",
        drawn("bad_time", "2023-02"),
        drawn("bad_time", "2023"),
    ),
    row(43, "bare digits", drawn("bad_time", "20230203")),
    row(
        44,
        "seconds or milliseconds",
        drawn("wrong_type", 1675418400),
        drawn("bad_time", "1675418400"),
        drawn("bad_time", "1675418400000"),
    ),
    row(
        45,
        "other spellings",
        *(
            drawn("bad_time", t)
            for t in (
                "2023-02-03T10:00:00\u221205:00",
                "2023-02-03 10:00:00Z",
                "2023-02-03t10:00:00Z",
                "2023-02-03T10:00:00z",
            )
        ),
    ),
    row(46, "-00:00", Tried(minus_zero_offset_is_utc)),
    row(
        47,
        "offsets beyond the world's",
        *(drawn("bad_time", f"2023-02-03T10:00:00{o}") for o in ("+25:00", "+14:01", "+23:59", "-12:01")),
    ),
    row(
        48,
        "the ends of the calendar",
        drawn("out_of_range", "0001-01-01T00:00:00+14:00"),
        drawn("out_of_range", "1899-12-31"),
        drawn("future_time", "9999-12-31T23:59:59-12:00"),
    ),
    row(49, "nine digits of a second", Tried(nine_digits_are_kept_as_written)),
    row(
        50,
        "the future; up to 24 hours are a clock that runs ahead",
        drawn("future_time", "2999-01-01"),
        drawn("future_time", (datetime.now(UTC) + timedelta(hours=26)).isoformat(timespec="seconds")),
        Tried(a_clock_may_run_ahead),
    ),
    row(
        51,
        "hours that a clock skips or repeats",
        drawn("no_offset", "2005-04-03T02:30:00"),
        drawn("no_offset", "2005-10-30T01:30:00"),
        Tried(with_an_offset_every_hour_is_one_hour),
    ),
    row(52, "HL7 v2 time without a zone", NotApplicable("No time of our own format; see test_bad_feed_times.")),
]


# 3c. The domain


TREATED = [lab(), lab(time="2005-05-09", value=900), infusion()]


def treated(*after: dict[str, Any], patient: str = "P1", **parts: Any) -> dict[str, Any]:
    """A treated patient with a CK of 1000 before and some results after."""
    return timeline(patient, labs=[lab(), *after], infusions=[infusion()]) | parts


def day(number: int) -> str:
    """A date so many days after the infusion."""
    return (datetime(2005, 4, 11, tzinfo=UTC) + timedelta(number)).date().isoformat()


def after(number: int, value: float, **more: Any) -> dict[str, Any]:
    return lab(time=day(number), value=value, **more)


def zero_is_a_value(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(value=0)]))
    rates = trial.analysis("response-rates", treated(after(28, 0)))
    assert [r["responders"] for r in rates["results"] if r["measure"] == "CK"] == [1, 1]
    change = trial.analysis("ck-change", treated(after(28, 0)))
    assert change["results"][0]["n"] == 0


def rhabdomyolysis_is_possible(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(value=3e5), lab(value=1e7, time="2005-03-17")]))


def units_have_exact_factors(trial: Trial) -> None:
    plain = trial.digest(timeline(labs=[lab(value=1101, upper_limit=163.2)]))
    for unit, factor in (("IU/L", 1), ("[IU]/L", 1), ("mU/mL", 1), ("ukat/L", 60), ("U/mL", 1000)):
        trial.accepted(timeline(labs=[lab(unit=unit, lab=unit.replace("/", "-"))]))
        sent = lab(value=1101 / factor, upper_limit=round(163.2 / factor, 4), unit=unit)
        assert trial.digest(timeline(labs=[sent])) == plain, unit
    assert {each["unit"] for each in trial.read()["labs"]} == {"IU/L", "[IU]/L", "mU/mL", "ukat/L", "U/mL"}


def without_a_limit_nothing_is_normal(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(upper_limit=None)]))
    analysis = trial.analysis("ck-normal-time", treated(after(28, 100, upper_limit=None)))
    assert counted(analysis, "flags", "no_upper_limit") == 1
    assert analysis["results"][0]["n"] == 0


def each_result_has_its_own_limit(trial: Trial) -> None:
    other = [after(28, 190, upper_limit=200, lab="B"), after(56, 190, upper_limit=163, lab="A")]
    result_ = trial.analysis("ck-normal-time", treated(*other))["results"][0]
    assert (result_["n"], result_["events"]) == (1, 1)


def after_death(trial: Trial) -> None:
    ended = {"date": day(30), "reason": "died"}
    trial.accepted(treated(after(28, 100), after(31, 1), ended=ended))
    analysis = trial.analysis("response-rates", treated(after(28, 900), after(31, 1), ended=ended))
    assert counted(analysis, "flags", "after_death") == 1
    assert [r["responders"] for r in analysis["results"] if r["measure"] == "CK"] == [0, 0]


def two_deaths(trial: Trial) -> None:
    trial.accepted(timeline(ended={"date": day(30), "reason": "died"}))
    outcome = trial.accepted(timeline(ended={"date": day(31), "reason": "died"}))
    assert outcome["status"] == "changed"
    assert trial.read()["ended"]["date"] == day(31)


def a_replay_stores_nothing(trial: Trial) -> None:
    trial.accepted(labs(lab()))
    before = trial.stored()
    assert trial.accepted(labs(lab()))["status"] == "unchanged"
    assert trial.stored() == before


def contradictions_follow_the_ledger(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(id="7", version=1)]))
    outcome = trial.accepted(timeline(labs=[lab(id="7", version=1, value=1100)]))
    assert (outcome["status"], outcome["counts"]["unversioned_corrections"]) == ("changed", 1)
    assert [each["value"] for each in trial.read()["labs"]] == [1100]
    assert trial.accepted(timeline(labs=[lab(id="7", version=1)]))["status"] == "stale"


def two_numbers_for_one_time(trial: Trial) -> None:
    both = [lab(id="7", time="2005-03-22", issued="2005-03-23T00:00:00Z"),
            lab(id="8", time="2005-03-22", issued="2005-03-24T00:00:00Z", value=1100)]  # fmt: skip
    trial.accepted(timeline(labs=both))
    assert len(trial.read()["labs"]) == 2
    document = timeline(labs=[*both, after(28, 770)], infusions=[infusion()])
    rates = trial.analysis("response-rates", document)
    assert counted(rates, "flags", "duplicate_draw") == 1
    assert [r["responders"] for r in rates["results"] if r["measure"] == "CK"] == [1, 1]  # 770 is 70 % of 1100


def a_late_version_changes_nothing(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab(id="7", version=2, value=1100)]))
    outcome = trial.accepted(timeline(labs=[lab(id="7", version=1)]))
    assert outcome["counts"]["late"] == 1
    assert [each["value"] for each in trial.read()["labs"]] == [1100]


def a_correction_may_come_first(trial: Trial) -> None:
    assert trial.accepted(timeline(labs=[lab(id="7", version=3, status="corrected")]))["status"] == "created"
    assert [each["version"] for each in trial.read()["labs"]] == [3]


def an_event_before_treatment_is_no_reaction(trial: Trial) -> None:
    document = treated(adverse_events=[{"term": "headache", "onset": day(-1)}])
    trial.accepted(document)
    analysis = trial.analysis("adverse-reactions", document)
    assert analysis["results"][0]["patients_with_reaction"] == 0
    assert counted(analysis, "flags", "before_treatment") == 1


def untreated(trial: Trial) -> None:
    trial.accepted(timeline(labs=[lab()]))
    report = trial.report(timeline(labs=[lab()]))
    assert report["populations"] == {"all": 1, "safety": 0, "efficacy": 0}
    for left_out in report["analyses"]["response-rates"]["excluded"]:
        assert (left_out["reason"], left_out["count"]) == ("not_treated", 1)


def two_infusions_at_once(trial: Trial) -> None:
    trial.accepted(
        timeline(infusions=[infusion(), infusion(product="SCIG"), infusion(time="2005-04-12", dose=0, unit="g")])
    )
    assert len(trial.read()["infusions"]) == 3
    assert trial.accepted(timeline(infusions=[infusion()] * 2))["counts"]["repeats"] == 1


def beyond_the_declared_scale(trial: Trial) -> None:
    scores = [{"code": "MMT", "time": day(-1), "score": 60}, {"code": "MMT", "time": day(28), "score": 101}]
    trial.accepted(timeline(assessments=scores))
    analysis = trial.analysis("response-rates", treated(assessments=scores))
    assert counted(analysis, "flags", "scale_mismatch") == 1


def no_baseline(trial: Trial) -> None:
    document = timeline(labs=[after(7, 900), after(28, 100)], infusions=[infusion()])
    trial.accepted(document)
    analysis = trial.analysis("response-rates", document)
    assert [r["evaluable"] for r in analysis["results"] if r["measure"] == "CK"] == [0, 0]
    assert any(
        e["reason"] == "no_baseline" and e.get("measure") == "CK" and e["count"] == 1 for e in analysis["excluded"]
    )


def what_is_undefined_is_null_with_a_reason(trial: Trial) -> None:
    empty = trial.report()
    assert empty["populations"] == {"all": 0, "safety": 0, "efficacy": 0}
    for rate in empty["analyses"]["response-rates"]["results"]:
        assert (rate["rate"], rate["reason"]) == (None, "no_patients")
    censored = trial.analysis("ck-normal-time", treated(after(28, 100), after(56, 100)))["results"][0]
    assert (censored["n"], censored["events"], censored["median"]["value"]) == (1, 0, None)
    assert censored["median"]["reason"] is not None
    tied = [treated(after(28, 1000), patient=f"P{i}") for i in range(3)]
    for change in trial.analysis("weekly-change", *tied)["results"]:
        if (change["measure"], change["week"], change["scale"]) == ("CK", 4, "ln"):
            assert (change["n"], change["mean"]) == (3, 0)
            assert all(test["p"] is not None or test["reason"] for test in change["tests"])


def no_duration_is_negative(trial: Trial) -> None:
    """CK was normal, then abnormal, and only then came the dose."""
    document = timeline(
        labs=[lab(time=day(-60), value=100), lab(time=day(-30)), after(28, 900)],
        infusions=[infusion()],
        adverse_events=[{"term": "headache", "onset": day(-3)}],
    )
    found = trial.analysis("ck-normal-time", document)
    assert found["results"][0]["n"] == 0
    assert counted(found, "excluded", "never_normal") == 1


def fifty_thousand_results(trial: Trial) -> None:
    times = [f"{day(1 + i // 1440)}T{i // 60 % 24:02}:{i % 60:02}:00+09:00" for i in range(50_000)]
    series = {"code": "CK", "unit": "U/L", "times": times, "values": [1] * len(times)}
    outcome = trial.accepted(timeline(lab_series=[series]))
    assert outcome["counts"]["added"] == 50_000


def too_many_results() -> bytes:
    series = {"code": "CK", "unit": "U/L", "times": ["2005-03-16"] * 1_000_000, "values": [1] * 1_000_000}
    return text_of(timeline(lab_series=[series]))


def the_latest_statement_of_sex_stands(trial: Trial) -> None:
    trial.accepted({"patient": {"id": "P1", "sex": "female", "birth_year": 1953}})
    trial.accepted({"patient": {"id": "P1", "sex": "male"}})
    assert trial.read()["patient"] == {"id": "P1", "sex": "male", "birth_year": 1953}


def studies_share_nothing(trial: Trial) -> None:
    other = Trial(trial.client, f"{trial.study}-b")
    other.accepted(labs(lab(value=NUMBER)))
    foreign, absent = (trial.client.get(f"{trial.home}/patients/{p}") for p in ("P1", "P2"))
    assert foreign.status_code == absent.status_code == 404
    foreign_body, absent_body = foreign.json(), absent.json()
    assert foreign_body.pop("instance") != absent_body.pop("instance")
    assert foreign_body == absent_body
    assert trial.accepted(labs(lab(value=1)))["status"] == "created"
    assert other.read()["labs"][-1]["value"] == NUMBER


ROWS_OF_THE_DOMAIN = [
    row(53, "CK below zero", result("out_of_range", value=-1), result("out_of_range", value=-NUMBER)),
    row(54, "CK of zero; no analysis can take its logarithm", Tried(zero_is_a_value)),
    row(55, "CK of 1e9 U/L", result("out_of_range", value=1e9), Tried(rhabdomyolysis_is_possible)),
    row(
        56,
        "units",
        *(result("unknown_unit", "/labs/0/unit", unit=unit) for unit in ("furlong", "UNIT/L", "MU/L", "", None)),
        result("mass_unit", "/labs/0/unit", unit="ng/mL"),
        result("unit_mismatch", "/labs/0/unit", code="MYOGLOBIN"),
        Tried(units_have_exact_factors),
    ),
    row(
        57,
        "upper limits",
        result("out_of_range", "/labs/0/upper_limit", upper_limit=0),
        result("out_of_range", "/labs/0/upper_limit", upper_limit=-163),
        result("reversed_limits", "/labs/0/lower_limit", lower_limit=NUMBER),
        Tried(without_a_limit_nothing_is_normal),
    ),
    row(58, "upper limits that differ between laboratories", Tried(each_result_has_its_own_limit)),
    row(
        59,
        "before birth",
        Refused(
            timeline(infusions=[infusion(product=CANARY)]) | {"patient": {"id": "P1", "birth_year": 2006}},
            faults=(("/infusions/0/time", "before_birth"),),
        ),
        Refused({"patient": {"id": "P1", "birth_year": 2199}}, faults=(("/patient/birth_year", "future_time"),)),
    ),
    row(60, "a result after death", Tried(after_death)),
    row(
        61,
        "two deaths: the note would refuse the second; the end is an attribute, and the later statement stands",
        Tried(two_deaths),
    ),
    row(62, "the same fact again", Tried(a_replay_stores_nothing)),
    row(
        63,
        "the same fact and version with another value: not 409, arrival decides and is counted",
        Tried(contradictions_follow_the_ledger),
        Refused(labs(lab(id="7"), lab(id="7", value=NUMBER)), faults=(("/labs/1", "conflicting_duplicate"),)),
    ),
    row(64, "another number at the same time", Tried(two_numbers_for_one_time)),
    row(65, "the later version first", Tried(a_late_version_changes_nothing)),
    row(66, "a correction of what is unknown", Tried(a_correction_may_come_first)),
    row(67, "an adverse event before treatment", Tried(an_event_before_treatment_is_no_reaction)),
    row(68, "a patient without an infusion", Tried(untreated)),
    row(
        69,
        "infusions",
        Refused(
            timeline(infusions=[infusion(dose=NUMBER, unit="mL")]), faults=(("/infusions/0/unit", "unknown_unit"),)
        ),
        Refused(timeline(infusions=[infusion(dose=NUMBER)]), faults=(("/infusions/0/unit", "dose_without_unit"),)),
        Tried(two_infusions_at_once),
    ),
    row(
        70,
        "scores outside of their scale; a declared scale is looked at when an analysis derives",
        *(
            Refused(
                timeline(assessments=[{"time": "2005-03-16", "source": CANARY} | score]),
                faults=((f"/assessments/0/{place}", code),),
            )
            for score, place, code in (
                ({"code": "HAQ", "score": 3.1}, "score", "off_scale"),
                ({"code": "MMT8", "score": 151}, "score", "off_scale"),
                ({"code": "MMT", "score": 6, "scale_max": 5}, "score", "off_scale"),
                ({"code": "MMT", "score": -1}, "score", "out_of_range"),
                ({"code": "CMAS", "score": 1, "scale_max": 50}, "scale_max", "scale_not_declarable"),
            )
        ),
        Tried(beyond_the_declared_scale),
    ),
    row(71, "no baseline", Tried(no_baseline)),
    row(72, "nobody, one patient, everybody censored, everybody tied", Tried(what_is_undefined_is_null_with_a_reason)),
    row(73, "a dose after the event", Tried(no_duration_is_negative)),
    row(
        74,
        "50,000 results of one patient are read, a million are too many",
        Tried(fifty_thousand_results),
        Refused(too_many_results(), 413),
    ),
    row(75, "another sex in another document", Tried(the_latest_statement_of_sex_stands)),
    row(76, "a patient of another study", Tried(studies_share_nothing)),
    row(
        77,
        "joining two patients, and parting them again",
        NotApplicable("The design has no such resource: a pseudonym is the patient, and who sends it decides."),
    ),
]

ROWS = [*ROWS_OF_JSON, *ROWS_OF_TIMES, *ROWS_OF_THE_DOMAIN]
TRIES = [
    pytest.param(
        each,
        id=f"{row.number}.{number}-{row.what.split(':')[0].split(';')[0]}",
        marks=[pytest.mark.slow] if isinstance(each, OnTheWire) else [],
    )
    for row in ROWS
    for number, each in enumerate(row.tries, 1)
    if not isinstance(each, NotApplicable)
]


@pytest.mark.parametrize("each", TRIES)
def test_bad_input(each, request):
    each.check(request.getfixturevalue("wire" if isinstance(each, OnTheWire) else "trial"))


def test_every_row_is_tried_or_says_why_not():
    assert [row.number for row in ROWS] == list(range(1, 78))
    assert all(row.tries for row in ROWS)
    untried = {row.number for row in ROWS for each in row.tries if isinstance(each, NotApplicable)}
    assert untried == {32, 52, 77}
    assert all(each.reason for row in ROWS for each in row.tries if isinstance(each, NotApplicable))


@pytest.mark.slow
def test_the_whole_catalogue_left_no_trace_in_the_log(wire):
    """Runs last: what the process has written until here names no value, and nothing failed."""
    written = "".join(wire.lines)
    assert "canary" not in written
    assert "event=failure" not in written
    assert "Traceback" not in written
