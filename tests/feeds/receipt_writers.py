"""One description of what a laboratory says, how each format writes it, and how the receipt of each format is read.

Nothing here knows the service. A writer gives the request; its reader gives, for each statement that was written, what
the answer says of it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, NamedTuple

from tests.feeds.writers import LOINC, STATUSES, UCUM

LABORATORY = "1.2.392.200119.4.1.77"
"""The object identifier of who numbers the results."""
SODIUM = "2951-2"
WITHDRAWALS = {"cancelled", "entered-in-error"}


@dataclass(frozen=True)
class Statement:
    """One version of a result of one patient. Times are RFC 3339, or a date.

    `value` is a text where the result is no number, and `None` where a withdrawal states none. `code_as` is the LOINC
    code where it is not the usual one, `system` another name of LOINC, `title` the name of the test,
    `reference_range` the limits as text. `title` and `laboratory` are not sent if they are `None`.
    """

    patient: str
    code: str
    time: str
    value: float | str | None
    unit: str | None = "U/L"
    upper_limit: float | None = 170
    status: str = "final"
    issued: str | None = None
    number: str | None = None
    version: int | None = None
    comparator: str | None = None
    code_as: str | None = None
    system: str | None = None
    title: str | None = None
    reference_range: str | None = None
    laboratory: str | None = None

    @property
    def withdraws(self) -> bool:
        """Whether it withdraws a result."""
        return self.status in WITHDRAWALS

    @property
    def loinc(self) -> str:
        """Its LOINC code."""
        return self.code_as or (LOINC[self.code][0] if self.code in LOINC else SODIUM)

    @property
    def source(self) -> str | None:
        """Who gave the number."""
        return None if self.number is None else f"urn:oid:{LABORATORY}"


class Effect(NamedTuple):
    """Another result that counts or no longer counts."""

    code: str
    time: str
    stands: bool


@dataclass
class Said:
    """What an answer says of one statement; `accepts`: it says what would have been accepted."""

    disposition: str = "kept"
    reason: str | None = None
    notes: set[str] = field(default_factory=set)
    effects: list[Effect] = field(default_factory=list)
    accepts: bool = field(default=False, compare=False)


@dataclass
class Answer:
    """What an answer says: the number of facts of each disposition, and a line for each statement that has one.

    `about_patients` are the notes about patients.
    """

    counts: Counter[str] = field(default_factory=Counter)
    lines: dict[int, Said] = field(default_factory=dict)
    about_patients: set[str] = field(default_factory=set)

    def at(self, statement: int) -> Said:
        """What is said of the statement at this place."""
        return self.lines.setdefault(statement, Said())

    def refuse(self, statements: Iterable[int], problem: Any = None) -> None:
        """Note that these statements were refused, by an answer that has no receipt for them, for the first reason of
        the problem.
        """
        first = next(iter((problem or {}).get("errors", ())), {})
        for at in statements:
            self.lines[at] = Said("refused", first.get("code"), accepts="accepts" in first)
            self.counts["refused"] += 1


@dataclass(frozen=True)
class Request:
    """One request: the address with a place for the study, the media type, the body, and which statements are in it."""

    path: str
    media_type: str
    body: bytes
    holds: tuple[int, ...]


class Reply(NamedTuple):
    """The status and the body of an answer."""

    status: int
    text: str


def _stated(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def by_patient(statements: Sequence[Statement]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The patients in the order of their first statements, and which statements are theirs."""
    places = sorted(range(len(statements)), key=lambda at: statements[at].patient)
    for patient, group in groupby(places, key=lambda at: statements[at].patient):
        yield patient, tuple(group)


# Native JSON


def _timeline(patient: str, statements: Iterable[Statement]) -> dict[str, Any]:
    return {"patient": {"id": patient}, "labs": [_native(each) for each in statements]}


def _native(each: Statement) -> dict[str, Any]:
    return _stated({
        "code": each.code_as or each.code, "time": each.time, "value": each.value, "comparator": each.comparator,
        "unit": each.unit, "upper_limit": each.upper_limit, "status": each.status, "issued": each.issued,
        "id": each.number, "source": each.source, "version": each.version, "lab": each.laboratory,
        "code_text": each.title,
    })  # fmt: skip


def write_events(statements: Sequence[Statement]) -> Iterator[Request]:
    """One request for each patient."""
    for patient, holds in by_patient(statements):
        body = json.dumps(_timeline(patient, [statements[at] for at in holds])).encode()
        yield Request(f"/v1/studies/{{study}}/patients/{patient}/events", "application/json", body, holds)


def write_json(statements: Sequence[Statement]) -> Iterator[Request]:
    """An array with a timeline of each patient."""
    items = list(by_patient(statements))
    body = json.dumps([_timeline(patient, [statements[at] for at in holds]) for patient, holds in items]).encode()
    yield Request("/v1/studies/{study}/timelines", "application/json", body, _all(items))


def write_ndjson(statements: Sequence[Statement]) -> Iterator[Request]:
    """A line for each patient."""
    items = list(by_patient(statements))
    lines = [json.dumps(_timeline(patient, [statements[at] for at in holds])) for patient, holds in items]
    yield Request("/v1/studies/{study}/timelines", "application/x-ndjson", "\n".join(lines).encode(), _all(items))


def _all(items: Iterable[tuple[str, tuple[int, ...]]]) -> tuple[int, ...]:
    return tuple(at for _, holds in items for at in holds)


def read_events(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to one timeline."""
    answer = Answer()
    if reply.status in {200, 201}:
        _read_item(answer, json.loads(reply.text)["receipt"], request.holds)
    else:
        assert reply.status == 422, reply
        answer.refuse(request.holds, json.loads(reply.text))
    return answer


def read_json(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to an array of timelines."""
    assert reply.status in {200, 422}, reply
    document = json.loads(reply.text)
    return _read_items(document["items"], document, statements)


def read_ndjson(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to lines: a line for each, and one more at the end."""
    assert reply.status == 200, reply
    *items, end = map(json.loads, reply.text.splitlines())
    return _read_items(items, end, statements)


def _read_items(items: Sequence[Any], document: Any, statements: Sequence[Statement]) -> Answer:
    answer = Answer()
    for item, (_, holds) in zip(items, by_patient(statements), strict=True):
        if item["receipt"] is None:
            answer.refuse(holds, item["problem"])
        else:
            _read_item(answer, item["receipt"], holds)
    facts = {name: count for name, count in document["facts"].items() if count}
    assert facts == {name: count for name, count in answer.counts.items() if count and name in facts}
    return answer


def _read_item(answer: Answer, receipt: Any, holds: Sequence[int]) -> None:
    answer.counts.update(receipt["counts"])
    for line in receipt["lines"]:
        if match := re.fullmatch(r"/labs/([0-9]+)(?:/.*)?", line["place"]):
            _read_line(answer.at(holds[int(match[1])]), line)
        else:
            assert line["place"].startswith("/patient"), line
            answer.about_patients |= {note["code"] for note in line.get("notes", ())}


def _read_line(said: Said, line: Any) -> None:
    said.disposition = line["disposition"]
    said.reason = line.get("reason")
    said.accepts = "accepts" in line
    said.notes |= {note["code"] for note in line.get("notes", ())}
    said.effects += [Effect(each["code"], each["time"], each["stands"]) for each in line.get("affects", ())]


# CSV

COLUMNS = (
    "patient", "code", "code_system", "code_text", "time", "value", "comparator", "unit", "upper_limit",
    "reference_range", "status", "issued", "id", "source", "lab", "version",
)  # fmt: skip


def write_csv(statements: Sequence[Statement]) -> Iterator[Request]:
    """One result in each row."""
    rows = [COLUMNS, *map(_row, statements)]
    body = "".join(",".join(map(_cell, row)) + "\r\n" for row in rows)
    yield Request("/v1/studies/{study}/labs", "text/csv", body.encode(), tuple(range(len(statements))))


def _cell(content: Any) -> str:
    return "" if content is None else f'"{content}"' if "," in str(content) else str(content)


def _row(each: Statement) -> Sequence[Any]:
    return (
        each.patient, each.loinc, each.system or "http://loinc.org", each.title, each.time, each.value, each.comparator,
        each.unit, each.upper_limit, each.reference_range, each.status, each.issued, each.number, each.source,
        each.laboratory, each.version,
    )  # fmt: skip


def read_csv(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to a table."""
    assert reply.status in {200, 422}, reply
    answer = Answer()
    document = json.loads(reply.text)
    for item in document["items"]:
        if item["receipt"] is None:
            known = {item["patient"] for item in document["items"]}
            holds = [at for at in request.holds if item["patient"] in {statements[at].patient, None}]
            answer.refuse(
                (at for at in holds if item["patient"] or statements[at].patient not in known), item["problem"]
            )
            continue
        answer.counts.update(item["receipt"]["counts"])
        for line in item["receipt"]["lines"]:
            match = re.fullmatch(r"/([0-9]+)(?:/(.*))?", line["place"])
            if match is None or match[2] == "patient":
                answer.about_patients |= {note["code"] for note in line.get("notes", ())}
            else:
                _read_line(answer.at(int(match[1]) - 2), line)
    facts = {name: count for name, count in document["facts"].items() if count}
    assert facts == {name: count for name, count in answer.counts.items() if count and name in facts}
    return answer


# FHIR


def observation(each: Statement) -> dict[str, Any]:
    """A statement as an Observation."""
    value = None
    if isinstance(each.value, float | int):
        value = _stated({
            "value": each.value, "comparator": each.comparator, "unit": each.unit, "system": UCUM, "code": each.unit,
        })  # fmt: skip
    limit = {"value": each.upper_limit, "unit": each.unit, "system": UCUM, "code": each.unit}
    limits = _stated({"high": None if each.upper_limit is None else limit, "text": each.reference_range})
    laboratory = {"type": "Organization", "display": each.laboratory}
    return _stated({
        "resourceType": "Observation",
        "identifier": None if each.number is None else [{"system": each.source, "value": each.number}],
        "status": each.status,
        "code": {"coding": [_stated({"system": each.system or "http://loinc.org", "code": each.loinc,
                                     "display": each.title})]},
        "subject": {"identifier": {"value": each.patient}},
        "effectiveDateTime": each.time,
        "issued": each.issued,
        "valueQuantity": value,
        "valueString": each.value if isinstance(each.value, str) else None,
        "referenceRange": [limits] if limits else None,
        "performer": None if each.laboratory is None else [laboratory],
    })  # fmt: skip


FHIR_JSON = "application/fhir+json"


def write_fhir(statements: Sequence[Statement]) -> Iterator[Request]:
    """One request for each result."""
    for at, each in enumerate(statements):
        yield Request("/fhir/{study}/Observation", FHIR_JSON, json.dumps(observation(each)).encode(), (at,))


def write_transaction(statements: Sequence[Statement], kind: Literal["transaction", "batch"] = "transaction"
    ) -> Iterator[Request]:  # fmt: skip
    """A bundle in which each result is an entry."""
    entries = [{"resource": observation(each), "request": {"method": "POST", "url": "Observation"}}
               for each in statements]  # fmt: skip
    body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()
    yield Request("/fhir/{study}", FHIR_JSON, body, tuple(range(len(statements))))


def write_batch(statements: Sequence[Statement]) -> Iterator[Request]:
    """The same, each entry for itself."""
    return write_transaction(statements, "batch")


def read_fhir(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to one resource: the resource with tags, or an OperationOutcome."""
    answer, [at] = Answer(), request.holds
    if reply.status not in {200, 201}:
        assert reply.status == 422, reply
        answer.refuse([at])
        _read_outcome(answer.at(at), json.loads(reply.text))
        return answer
    document = json.loads(reply.text)
    if document["resourceType"] == "OperationOutcome":
        _read_outcome(answer.at(at), document)
    else:
        for tag in document["meta"].get("tag", ()):
            _read_coded(answer.at(at), [tag], tag["display"])
    answer.counts[answer.at(at).disposition] += 1
    return answer


def read_bundle(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The answer to a bundle: an outcome for each entry, or one OperationOutcome for all."""
    answer = Answer()
    document = json.loads(reply.text)
    if document["resourceType"] == "OperationOutcome":
        assert reply.status in {409, 422}, reply
        answer.refuse(request.holds)
        return answer
    assert reply.status in {200, 422}, reply
    answer.counts = _counts(document["meta"])
    for at, entry in enumerate(document["entry"]):
        response = entry["response"]
        if "outcome" in response:
            _read_outcome(answer.at(at), response["outcome"])
        if response["status"][0] == "4":
            answer.at(at).disposition = "refused"
        answer.about_patients |= answer.at(at).notes & {"new_patient"}
        answer.at(at).notes.discard("new_patient")
    return answer


def _counts(extended: Mapping[str, Any]) -> Counter[str]:
    [extension] = extended["extension"]
    return Counter({each["url"]: each["valueInteger"] for each in extension["extension"]})


def _read_outcome(said: Said, outcome: Mapping[str, Any]) -> None:
    for issue in outcome["issue"]:
        _read_coded(said, issue["details"].get("coding", ()), issue["details"]["text"])


def _read_coded(said: Said, codings: Sequence[Mapping[str, str]], text: str) -> None:
    said.accepts = said.accepts or "Accepted: " in text
    for coding in codings:
        system, code = coding["system"].rpartition(":")[2], coding["code"]
        if system == "notes":
            said.notes.add(code)
        elif system == "dispositions":
            said.disposition = code
        elif system == "affected":
            match = re.fullmatch(r"Another fact (counts|does not count any more): labs, (\w+), (.*)\.", text)
            assert match is not None, text
            said.effects.append(Effect(match[2], match[3], match[1] == "counts"))
        else:
            said.reason = code
            said.disposition = {"not-kept": _DISPOSITION_OF.get(code, "set_aside"), "skipped": "not_ours"}.get(
                system, said.disposition
            )


_DISPOSITION_OF = dict.fromkeys(("older", "stale", "superseded", "no_result"), "not_applied")
_NOT_OURS = {"code", "value", "segment", "status", "resource"}


# HL7 v2


def write_hl7v2(statements: Sequence[Statement]) -> Iterator[Request]:
    """A message for each patient, with an order for each result."""
    for patient, holds in by_patient(statements):
        lines = [
            r"MSH|^~\&|LIS|WARD7|MYO|MYO|20260101120000+0900||ORU^R01^ORU_R01|1|P|2.5.1||||||UNICODE UTF-8",
            f"PID|1||{patient}^^^WARD7^MR",
        ]
        for nth, at in enumerate(holds, 1):
            lines += _order(nth, statements[at])
        yield Request("/v1/studies/{study}/hl7v2", "application/hl7-v2", "\r".join([*lines, ""]).encode(), holds)


def _order(nth: int, each: Statement) -> list[str]:
    filler = "" if each.number is None else f"{each.number}^^{LABORATORY}^ISO"
    kind, value = "NM", "" if each.value is None else str(each.value)
    if isinstance(each.value, str):
        kind = "ST"
    elif each.comparator is not None:
        kind, value = "SN", f"{each.comparator}^{value}"
    limit = each.reference_range or ("" if each.upper_limit is None else f"<={each.upper_limit}")
    code = f"{each.loinc}^{each.title or each.code}^{each.system or 'LN'}"
    result = f"OBX|{nth}|{kind}|{code}||{value}|{each.unit or ''}|{limit}||||{STATUSES[each.status]}"
    return [
        f"OBR|{nth}||{filler}|{code}|||{_stamp(each.time)}|||||||||||||||{_stamp(each.issued)}|||F",
        result if each.laboratory is None else f"{result}||||{each.laboratory}",
    ]


def _stamp(at: str | None) -> str:
    """A time as `20050316094800+0900`, a date as `20050316`."""
    if at is None or "T" not in at:
        return (at or "").replace("-", "")
    return datetime.fromisoformat(at).strftime("%Y%m%d%H%M%S%z")


def read_hl7v2(reply: Reply, request: Request, statements: Sequence[Statement]) -> Answer:
    """The acknowledgement: MSA-3 counts, and each ERR is about a result."""
    answer = Answer()
    segments = [segment.split("|") for segment in reply.text.split("\r") if segment]
    [acknowledged] = [fields for fields in segments if fields[0] == "MSA"]
    assert (reply.status, acknowledged[1]) in {(200, "AA"), (422, "AE")}, reply
    for count in filter(None, acknowledged[3].split(", ") if len(acknowledged) > 3 else ()):
        name, _, number = count.rpartition(" ")
        answer.counts[name.replace(" ", "_")] = int(number)
    for fields in segments:
        if fields[0] == "ERR":
            name, number, *_ = [*fields[2].split("^"), ""]
            if name in {"OBX", "OBR"}:
                said = answer.at(request.holds[int(number) - 1])
                _read_error(said, *fields[4:6], *[*fields[6:], "", "", ""][1:2])
                said.accepts = said.accepts or "Accepted: " in fields[-1]
            else:
                assert name == "PID", fields
                answer.about_patients.add(fields[5])
    if acknowledged[1] == "AE":
        for at in set(request.holds) - answer.lines.keys():
            answer.lines[at] = Said("refused", next(iter(answer.about_patients), None))
    return answer


def _read_error(said: Said, severity: str, code: str, effects: str) -> None:
    if severity == "W":
        said.disposition, said.reason = "set_aside", code
    elif severity == "E":
        said.disposition, said.reason = "refused", code
    elif code in _DISPOSITION_OF:
        said.disposition, said.reason = _DISPOSITION_OF[code], code
    elif code in _NOT_OURS:
        said.disposition, said.reason = "not_ours", code
    elif code != "kept":
        said.notes.add(code)
    for effect in filter(None, effects.split("; ")):
        match = re.fullmatch(r"labs (\w+) (\S+) (counts now|no longer counts)", effect)
        assert match is not None, effect
        said.effects.append(Effect(match[1], match[2], match[3] == "counts now"))


# All formats


class Format(NamedTuple):
    """How a format is written and its answer read, and which statements it has no place for."""

    write: Any
    read: Any
    has_version: bool = False
    has_texts: bool = True
    has_other_codes: bool = True
    has_utc: bool = True

    def said(self, each: Statement) -> Statement:
        """The statement as this format can say it."""
        if not self.has_version:
            each = replace(each, version=None)
        if not self.has_texts and isinstance(each.value, str):
            each = each if each.withdraws else replace(each, value=77.5, unit=each.unit or "U/L")
        if not self.has_utc:
            each = replace(each, time=each.time.replace("Z", "+00:00"))
        return replace(each, code="CK") if not self.has_other_codes and each.code not in LOINC else each


FORMATS: dict[str, Format] = {
    "native": Format(write_events, read_events, has_version=True, has_texts=False, has_other_codes=False),
    "json": Format(write_json, read_json, has_version=True, has_texts=False, has_other_codes=False),
    "ndjson": Format(write_ndjson, read_ndjson, has_version=True, has_texts=False, has_other_codes=False),
    "csv": Format(write_csv, read_csv, has_version=True),
    "fhir": Format(write_fhir, read_fhir),
    "transaction": Format(write_transaction, read_bundle),
    "batch": Format(write_batch, read_bundle),
    "hl7v2": Format(write_hl7v2, read_hl7v2, has_utc=False),
}
"""Native JSON is written by senders that have translated codes: it has no place for other tests, or for results that
are no number. HL7 v2 and the FHIR Observations here have no place for a version, and HL7 v2 has no letter for UTC."""
