"""The contract of all formats: each rule, in each format that has a place for it.

A rule is stated once, with what is sent and what becomes of it; a small writer of each format sends it. A format that
is added to `WRITTEN` must keep every rule, or be named in the rule with the reason why it has no place for it.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.feeds.receipt_writers import FORMATS, Answer, Reply, Said, Statement
from tests.readers.refusals import CLOSED
from tests.tables import with_tables

WRITTEN = {"native": "json", "csv": "csv", "fhir": "batch", "hl7v2": "hl7v2"}
"""The formats, and how each is written here: of the native and FHIR ones, as many items in one request."""

CK = Statement(
    "P1", "CK", "2020-01-02T10:00:00+09:00", 1101, number="n1", issued="2020-01-03T08:00:00+09:00", laboratory="Central"
)
LDH = replace(CK, code="LDH", value=300, number="n9")
"""A good result beside the one that a rule is about."""
LATER, LATEST = "2020-01-04T08:00:00+09:00", "2020-01-05T08:00:00+09:00"
HEMOLYZED = replace(CK, value="HEMOLYZED", unit=None, upper_limit=None, status="corrected", issued=LATER)
AFTERNOON = "2020-01-02T15:00:00+09:00"


@dataclass(frozen=True)
class Rule:
    """What is sent, one submission after the other, and what is then said of each statement and shown.

    A line is a disposition and what else must be said: the reason, or notes; a note with `-` before it must not be.
    `set_aside` with the code of a fault is what is said where several results are in one item: a FHIR resource with a
    fault is refused, for itself, and native JSON with one is refused as an item. `shown` are the values afterwards,
    `shown_native` those in native JSON, if it refuses more. `no_place` names formats that have no place for it and says
    why. `nothing_kept` has the places of the submissions of which nothing is kept, where a rule is about that.
    """

    sent: Sequence[Sequence[Statement]]
    lines: Sequence[str]
    shown: Sequence[float]
    declared: Mapping[str, Any] = field(default_factory=dict)
    patient: str = "P1"
    of_patient: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    no_place: Mapping[str, str] = field(default_factory=dict)
    shown_native: Sequence[float] | None = None
    nothing_kept: Sequence[int] | None = None


NUMBERS_ONLY = {"native": "its limits are numbers; who writes it has read the text"}
CODES_ONLY = {"native": "its codes are ours or LOINC, without a system"}
VALUES_ONLY = {"native": "its values are numbers; a result that is no number is not written"}


def _one(line: str, shown: Sequence[float] = (1101,), /, **changes: Any) -> Rule:
    """A rule about one CK result with these changes."""
    more = {name: changes.pop(name) for name in [*changes] if name in Rule.__dataclass_fields__ and name != "patient"}
    return Rule([[replace(CK, **changes)]], [line], shown, **more)


def _limit(text: str) -> Rule:
    return _one("kept -limit_unreadable -no_upper_limit", reference_range=text, upper_limit=None, no_place=NUMBERS_ONLY,
                fields={"upper_limit": 170})  # fmt: skip


def _beside(line: str, /, **changes: Any) -> Rule:
    """A rule about a CK result with a fault, beside a good LDH result."""
    more = {name: changes.pop(name) for name in [*changes] if name in Rule.__dataclass_fields__}
    return Rule([[LDH, replace(CK, **changes)]], ["kept", line], (300,), shown_native=(), **more)


def _then(*statements: Statement, lines: Sequence[str], shown: Sequence[float], **more: Any) -> Rule:
    """A rule about statements that arrive one after the other."""
    return Rule([[each] for each in statements], lines, shown, **more)


def _no_patient(number: str) -> Rule:
    return _one("refused bad_identifier", (), patient=number)


def _withdrawal(status: str, **changes: Any) -> Rule:
    gone = replace(CK, status=status, issued=LATER, **changes)
    return _then(CK, gone, lines=["kept", "kept"], shown=())


RULES: dict[str, Rule] = {
    # withdrawal
    "a withdrawal needs no value": _withdrawal("entered-in-error", value=None, unit=None, upper_limit=None),
    "a withdrawal may have a text for a value": _withdrawal("cancelled", value="see comment", unit=None),
    "a withdrawal may have an unknown unit": _withdrawal("entered-in-error", unit="furlong"),
    "a withdrawal may have the value again": _withdrawal("cancelled"),
    "a withdrawal without a time of issue is applied and noted": _then(
        CK, replace(CK, status="cancelled", issued=None, value=None, unit=None, upper_limit=None),
        lines=["kept", "kept issued_from_receipt"], shown=()),
    "a correction without a time of issue is applied and noted": _then(
        CK, replace(CK, status="corrected", issued=None, value=900),
        lines=["kept", "kept issued_from_receipt"], shown=(900,)),
    "a result after its withdrawal does not count": _then(
        replace(CK, status="entered-in-error", issued=LATER), CK, lines=["kept", "not_applied"], shown=()),
    # limits
    "a result without an upper limit is noted": _one("kept no_upper_limit -limit_unreadable", upper_limit=None),
    **{f"the limit {text} is read": _limit(text) for text in (
        "30 - 170 U/L", "(30-170)", "[30-170]", "30\u2013170", "26 to 170", "<=170", "<170", "up to 170", "\u2264170",
        "\uff13\uff10\uff0d\uff11\uff17\uff10")},
    "a limit in another unit of the kind is converted": _one(
        "kept", reference_range="0.5-2.83 ukat/L", upper_limit=None, no_place=NUMBERS_ONLY,
        fields={"upper_limit": 169.8}),
    "a limit that cannot be read is left out and noted": _one(
        "kept limit_unreadable no_upper_limit", upper_limit=None, reference_range="adults", no_place=NUMBERS_ONLY),
    "an implausible limit is noted": _one("kept implausible", upper_limit=2.5),
    # values
    "a bound is noted": _one("kept bound", comparator="<"),
    "a result that is no number is set aside beside a good one": Rule(
        [[LDH, replace(CK, value="HEMOLYZED", unit=None)]], ["kept", "set_aside not_a_number"], (300,),
        no_place=VALUES_ONLY),
    "a result that is no number outranks an earlier one": _then(
        CK, replace(CK, value="HEMOLYZED", unit=None, upper_limit=None, status="corrected", issued=LATER),
        lines=["kept", "set_aside not_a_number"], shown=(), no_place=VALUES_ONLY),
    "a result that is no number does not outrank a later one": _then(
        replace(CK, status="corrected", issued=LATER),
        replace(CK, value="HEMOLYZED", unit=None, upper_limit=None),
        lines=["kept", "not_applied older"], shown=(1101,), no_place=VALUES_ONLY),
    "of a result that is no number and changes nothing, nothing is kept": _then(
        HEMOLYZED, HEMOLYZED, lines=["set_aside not_a_number -unchanged"] * 2, shown=(), no_place=VALUES_ONLY,
        nothing_kept=(0, 1)),
    "a result that is no number and ends another is no loss, nor is its replay": _then(
        CK, HEMOLYZED, HEMOLYZED,
        lines=["kept", "set_aside not_a_number -unchanged", "set_aside not_a_number unchanged"], shown=(),
        no_place=VALUES_ONLY, nothing_kept=()),
    "a result that is no number and replaces a withdrawn one changes nothing": _then(
        CK, replace(CK, status="cancelled", issued=LATER), replace(HEMOLYZED, issued=LATEST),
        replace(HEMOLYZED, issued=LATEST), lines=["kept", "kept", *["set_aside not_a_number -unchanged"] * 2], shown=(),
        no_place=VALUES_ONLY, nothing_kept=(2, 3)),
    "of a result with a fault beside one that is no number, nothing is kept": Rule(
        [[HEMOLYZED, replace(LDH, unit="furlong")]], ["set_aside not_a_number", "set_aside unknown_unit"], (),
        no_place=VALUES_ONLY, nothing_kept=(0,)),
    "of results with faults nothing is kept": Rule(
        [[replace(CK, unit="furlong"), replace(LDH, unit="furlong")]], ["set_aside unknown_unit"] * 2, (),
        nothing_kept=(0,)),
    "what stands already is kept": _then(CK, CK, lines=["kept", "kept unchanged"], shown=(1101,), nothing_kept=()),
    "a hundred times its neighbours is noted": Rule(
        [[replace(CK, number=f"n{i}", time=f"2020-01-0{i}T10:00:00+09:00", value=value, issued=None)
          for i, value in enumerate((500, 50_000, 499), 1)]],
        ["kept -implausible", "kept implausible", "kept -implausible"], (499, 500, 50_000),
        no_place={"fhir": "each resource is read by itself, and its neighbours are in others"}),
    # units
    **{f"the unit {unit} is read": _one("kept", (value,), value=value, unit=unit, upper_limit=limit)
       for unit, value, limit in (
           ("IU/L", 1101, 170), ("kU/L", 1.101, 0.17), ("[U]/L", 1101, 170), ("[iU]/L", 1101, 170), ("IE/L", 1101, 170),
           ("\uff35\uff0f\uff2c", 1101, 170), ("ukat/L", 18.35, 2.83), ("U/dL", 110.1, 17))},
    "a unit that is not known is set aside beside a good result": _beside("set_aside unknown_unit", unit="furlong"),
    "a value out of range is set aside beside a good result": _beside("set_aside out_of_range", value=1e9),
    "a time of another form is set aside beside a good result": _beside("set_aside bad_time", time="2020-13-45"),
    "a status that is not known is set aside beside a good result": _beside(
        "set_aside unknown_value", status="canary", no_place={"hl7v2": "its writer has no letter for such a word"}),
    "a unit of mass is set aside": _beside("set_aside mass_unit", unit="ng/mL"),
    "a unit that the study declares is read": _one(
        "kept", unit="E/L", declared={"unit_aliases": {"E/L": "U/L"}},
        no_place={"native": "who writes it has translated the unit"}),
    # codes
    **{f"LOINC may be named {system}": _one("kept", system=system, no_place={
        **CODES_ONLY, **({} if system.startswith("urn") else {"fhir": "a system is a URI"})})
       for system in ("urn:oid:2.16.840.1.113883.6.1", "LN")},
    **{f"LOINC {code} is {means}": _one("kept", code=means, code_as=code, fields={"code": means})
       for code, means in (("30239-8", "AST"), ("88112-8", "AST"), ("1743-4", "ALT"), ("1744-2", "ALT"))},
    "a title that names CK-MB is a contradiction": _beside("set_aside code_conflict", title="CK-MB"),
    "a title that names another test is a contradiction": _beside("set_aside code_conflict", title="Creatinine"),
    "a reflex to CK-MB in a title is none": _one("kept", title="CK, Total w/ reflex to CK-MB"),
    "a result with a contradicted code touches nothing": Rule(
        [[CK, LDH], [replace(LDH, value=301, issued=LATER),
                     replace(CK, value=1, title="Creatinine", status="corrected", issued=LATER)]],
        ["kept", "kept", "kept", "set_aside code_conflict"], (301, 1101), shown_native=(300, 1101)),
    "another test is not ours": Rule([[LDH, replace(CK, code="SODIUM")]], ["kept", "not_ours"], (300,),
                                     no_place=CODES_ONLY),
    # times
    "a time in UTC is noted": _one(
        "kept utc_day",
        time="2020-01-02T01:00:00Z",
        no_place={"hl7v2": "it has no letter for UTC, and +0000 is also the offset of London"},
    ),
    "a time with an offset is not": _one("kept -utc_day"),
    "a time without an offset is one of the study's zone": _one(
        "kept -zone_from_message", time="2020-01-02T10:00:00", fields={"time": "2020-01-02T10:00:00+09:00"},
        no_place={"native": "its times have offsets", "fhir": "the standard asks for an offset"}),
    "a date stays a date": _one("kept", time="2020-01-02", fields={"time": "2020-01-02"}),
    "an issue before the specimen is noted": _one("kept implausible", issued="2020-01-01T08:00:00+09:00"),
    # identity
    "one number may have two draws": _then(
        CK, replace(CK, time=AFTERNOON, value=900, issued=LATER),
        lines=["kept", "kept same_number_other_time"], shown=(900, 1101)),
    "a correction may move a time": _then(
        CK, replace(CK, time=AFTERNOON, status="corrected", issued=LATER), lines=["kept", "kept"], shown=(1101,),
        fields={"time": AFTERNOON}),
    "an older statement is not applied": _then(
        replace(CK, status="corrected", issued=LATER), replace(CK, value=1), lines=["kept", "not_applied older"],
        shown=(1101,)),
    "a late retry is stale": _then(
        CK, replace(CK, value=900, status="corrected", issued=LATER), CK,
        lines=["kept", "kept", "not_applied stale"], shown=(900,)),
    "a replay is kept and unchanged": _then(CK, CK, lines=["kept -unchanged", "kept unchanged"], shown=(1101,)),
    "a correction that fits two draws is set aside": _then(
        CK, replace(CK, time=AFTERNOON, value=900),
        replace(CK, time="2020-01-02T18:00:00+09:00", value=800, status="corrected", issued=LATER),
        lines=["kept", "kept", "set_aside ambiguous_correction"], shown=(900, 1101)),
    "a date is not enough where a number has two draws on it": _then(
        CK, replace(CK, time=AFTERNOON, value=900), replace(CK, time="2020-01-02", value=800),
        lines=["kept", "kept", "set_aside ambiguous_date"], shown=(900, 1101)),
    "the same content under another number is noted": _then(
        CK, replace(CK, number="n2"), lines=["kept", "kept possible_duplicate"], shown=(1101, 1101)),
    # patients
    **{f"{number} is no number of a patient": _no_patient(number) for number in (
        "UNKNOWN", "NA", "-", "1.23457E+11", "77.0")},
    "leading zeros of a patient's number are kept": _one("kept", patient="0077", of_patient=("0077",)),
    "blanks around a patient's number are not part of it": _one("kept", patient=" P1 ", of_patient=("P1",)),
    "letters of full width are the usual ones": _one("kept", patient="\uff30\uff11", of_patient=("P1",)),
    "a new patient is noted": _one("kept", of_patient=("P1", "new_patient")),
    "a patient who is not enrolled is not added": _one(
        "set_aside unknown_reference", (), declared={"enrolled_only": True},
        no_place={"native": "it is how patients are enrolled"}),
    # laboratories
    "the laboratory that measured is carried": _one("kept", fields={"lab": "Central"}),
}  # fmt: skip

CASES = [
    pytest.param(rule, name, id=f"{said} - {name}")
    for said, rule in RULES.items()
    for name in WRITTEN
    if name not in rule.no_place
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service on an empty database."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('contract') / 'x.db'}")
    with TestClient(
        create_app(Settings(database_url=url, pseudonym_secret="x" * 32)), base_url="http://127.0.0.1:8000"
    ) as running:
        yield running


NUMBERS = itertools.count()


class Trial:
    """A study of its own."""

    def __init__(self, client: TestClient, declared: Mapping[str, Any]) -> None:
        self.client, self.study = client, f"rule-{next(NUMBERS)}"
        usual = {"name": "T", "protocol": "seed-2008", "identifiers": "pseudonyms", "time_zone": "Asia/Tokyo"}
        answer = client.put(f"/v1/studies/{self.study}", json={**usual, **declared})
        assert answer.status_code == 201, answer.text

    def send(self, name: str, statements: Sequence[Statement], mark: bytes = b"") -> tuple[Answer, list[Said]]:
        """What is said of statements that are sent in a format."""
        form = FORMATS[WRITTEN[name]]
        [request] = form.write(statements)
        answer = self.answer = self.client.post(
            request.path.format(study=self.study) + "?receipt=full",
            content=mark + request.body,
            headers={"content-type": request.media_type},
        )
        read = form.read(Reply(answer.status_code, answer.text), request, statements)
        return read, [read.at(at) for at in range(len(statements))]

    def labs(self, patient: str = "P1") -> list[dict[str, Any]]:
        """The results of a patient by value."""
        answer = self.client.get(f"/v1/studies/{self.study}/patients/{patient}")
        labs = answer.json()["labs"] if answer.status_code == 200 else []
        return sorted(labs, key=lambda lab: float(lab["value"]))


@pytest.mark.parametrize(("rule", "name"), CASES)
def test_a_rule_is_kept(client: TestClient, rule: Rule, name: str) -> None:
    trial, said, about_patients = Trial(client, rule.declared), [], set()
    lines = iter(rule.lines)
    aside = rule.nothing_kept or ()
    for nth, statements in enumerate(rule.sent):
        answer, found = trial.send(name, statements)
        about_patients |= answer.about_patients
        expected = [next(lines) for _ in statements]
        if name == "native" and any(_is_fault(line) for line in expected):
            expected = ["refused " + next(line.split()[1] for line in expected if _is_fault(line))] * len(expected)
        elif name == "fhir" or (name == "hl7v2" and (all(map(_is_fault, expected)) or nth in aside)):
            expected = [line.replace("set_aside", "refused") if _is_fault(line) else line for line in expected]
        lost = all(
            what.disposition in _NOT_KEPT and not what.effects and "unchanged" not in what.notes for what in found
        )
        if rule.nothing_kept is not None and not (name == "native" and rule.shown_native is not None):
            assert lost == (nth in aside), found
        mendable = any(what.disposition == "refused" for what in found)
        assert not [what for what in found if what.reason in CLOSED and not what.accepts]
        assert trial.answer.status_code == (422 if lost and (mendable or name != "hl7v2") else 200)
        said += list(zip(expected, found, strict=True))
    for line, what in said:
        disposition, *others = line.split()
        assert what.disposition == disposition, (line, what)
        for other in others:
            assert (other == what.reason or other in what.notes) if other[0] != "-" else other[1:] not in what.notes, (
                line, what)  # fmt: skip
    patient, *notes = rule.of_patient or ("P1",)
    labs = trial.labs(patient)
    shown = rule.shown if name != "native" or rule.shown_native is None else rule.shown_native
    assert [lab["value"] for lab in labs] == list(shown)
    for key, value in rule.fields.items():
        assert [lab.get(key) for lab in labs] == [pytest.approx(value) if key == "upper_limit" else value]
    assert about_patients >= set(notes)


_NOT_KEPT = {"set_aside", "refused", "not_ours"}


def _is_fault(line: str) -> bool:
    """Whether a line says that a result has a fault, and not that it is set aside for what the study has."""
    disposition, *reason = line.split()
    return disposition == "set_aside" and not ({*reason} & {
        "not_a_number", "ambiguous_correction", "ambiguous_date", "ambiguous_withdrawal", "unknown_reference",
    })  # fmt: skip


def test_native_json_normalises_the_number_of_a_patient_as_feeds_do(client: TestClient) -> None:
    trial = Trial(client, {"identifiers": "medical_record", "authorities": ["urn:oid:1.2"]})
    _, [line] = trial.send("csv", [replace(CK, patient="00P1")])
    assert line.disposition == "kept"
    for value in ("00P1", " 00P1 ", "\uff10\uff10\uff30\uff11"):
        document = {"patient": {"identifier": {"system": "urn:oid:1.2", "value": value}}, "labs": []}
        [item] = client.post(f"/v1/studies/{trial.study}/timelines", json=[document]).json()["items"]
        assert item["status"] == "unchanged", item


@pytest.mark.parametrize("name", WRITTEN)
def test_a_byte_order_mark_is_passed_over(client: TestClient, name: str) -> None:
    trial = Trial(client, {})
    _, [line] = trial.send(name, [CK], "\ufeff".encode())
    assert line.disposition == "kept"
    assert [lab["value"] for lab in trial.labs()] == [1101]


def test_a_format_without_a_place_for_a_rule_is_named_with_the_reason() -> None:
    for rule in RULES.values():
        assert set(rule.no_place) <= set(WRITTEN)
        assert all(reason.count(" ") >= 3 for reason in rule.no_place.values())
    assert len(CASES) == len(RULES) * len(WRITTEN) - sum(len(rule.no_place) for rule in RULES.values())


@pytest.mark.parametrize(("name", "other"), [*itertools.combinations(WRITTEN, 2)])
def test_what_one_format_said_another_may_say_again_and_correct(client: TestClient, name: str, other: str) -> None:
    trial = Trial(client, {})
    assert [line.disposition for line in trial.send(name, [CK])[1]] == ["kept"]
    [again] = trial.send(other, [CK])[1]
    assert "unchanged" in again.notes
    [moved] = trial.send(other, [replace(CK, value=900, status="corrected", issued=LATEST)])[1]
    assert [effect.stands for effect in moved.effects] == [False]
    assert [lab["value"] for lab in trial.labs()] == [900]
