"""FHIR resources of which a part cannot be read, withdrawals, results inside reports, and merged records."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.fhir_bodies import (
    HOSPITAL,
    LAB,
    LOINC,
    SECRET,
    UCUM,
    Facade,
    about,
    bundle,
    ck,
    entry,
    headache,
    infusion,
    issues,
    ldh,
    named,
    patient,
    statuses,
)
from tests.api.test_fhir_receipts import counts, of_entry, said, tagged

AST = "1920-8"


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


def code(loinc: str) -> dict[str, Any]:
    """A code of LOINC."""
    return {"coding": [{"system": LOINC, "code": loinc}]}


def part(loinc: str, value: float = 40, unit: str = "U/L", **more: Any) -> dict[str, Any]:
    """A component."""
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return {"code": code(loinc), "valueQuantity": quantity, "referenceRange": [{"high": {"value": 50}}]} | more


def panel(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A panel of these results."""
    given = ck(**{"code": code("24325-3"), "component": list(parts)} | more)
    del given["valueQuantity"], given["referenceRange"]
    return given


def report(*contained: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A report that contains these results."""
    held = [{"id": f"o{i}", **each} for i, each in enumerate(contained)]
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "panel"},
        "subject": about(),
        "contained": held,
        "result": [{"reference": f"#{each['id']}"} for each in held],
    } | more


# Parts that cannot be read


@pytest.mark.parametrize(
    ("wrong", "place", "reason"),
    [
        (part(AST, unit="furlong"), "valueQuantity.code", "unknown_unit"),
        (part(AST, unit="ng/mL"), "valueQuantity.code", "mass_unit"),
        (part(AST, -1), "valueQuantity.value", "out_of_range"),
        (part(AST, modifierExtension=[{"url": "urn:x"}]), "modifierExtension", "unknown_modifier"),
    ],
)
def test_a_component_with_a_fault_is_set_aside_and_the_others_are_kept(trial, wrong, place, reason):
    sent = panel(part("2157-6"), wrong)
    answer = trial.post(bundle(entry(sent), type="batch"))
    assert statuses(answer) == ["201"]
    assert said(of_entry(answer, 0)) == [
        (
            "warning",
            [("faults", reason), ("dispositions", "set_aside")],
            [f"Bundle.entry[0].resource.component[1].{place}"],
        )
    ]
    assert counts(answer.json()["meta"]) == {"kept": 1, "set_aside": 1}
    assert trial.labs() == [("CK", 40)]
    single = trial.post(sent)
    assert (single.status_code, tagged(single)) == (200, [("faults", reason)])


def test_the_receipt_in_the_documentation_is_what_is_answered(trial):
    trial.post(patient())
    sent = panel(part("2157-6", referenceRange=[]), part(AST, unit="ng/mL"))
    page = (Path(__file__).parents[2] / "docs" / "fhir.md").read_text(encoding="utf-8")
    documented = page.split("## The receipt")[1].split("```json")[1].split("```")[0]
    assert of_entry(trial.post(bundle(entry(sent), type="batch")), 0) == json.loads(documented)


def test_a_transaction_keeps_nothing_if_a_component_has_a_fault(trial):
    answer = trial.post(bundle(entry(panel(part("2157-6"), part(AST, unit="furlong"))), entry(ldh())))
    assert answer.status_code == 422
    assert issues(answer) == [("error", "code-invalid", "Bundle.entry[0].resource.component[1].valueQuantity.code")]
    assert trial.revision() == 0


def test_a_panel_of_which_nothing_can_be_read_is_refused_with_all_of_its_faults(trial):
    answer = trial.post(panel(part("2157-6", unit="ng/mL"), part(AST, modifierExtension=[{}])))
    assert answer.status_code == 422
    assert sorted(place for _, _, place in issues(answer)) == [
        "Observation.component[0].valueQuantity.code",
        "Observation.component[1].modifierExtension",
    ]
    assert trial.revision() == 0


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection"])
@pytest.mark.parametrize(
    ("resource", "detail", "place"),
    [
        (patient(birthDate="00000000"), "birth_year", ".birthDate"),
        (patient(birthDate="1653-02-03"), "birth_year", ".birthDate"),
        (patient(birthDate="2999-02-03"), "birth_year", ".birthDate"),
        (patient(gender="f"), "sex", ".gender"),
        (patient(deceasedBoolean=True), "deceased", ".deceasedBoolean"),
        (infusion(dosage={"dose": {"value": 300, "unit": "mL", "system": UCUM, "code": "mL"}}), "dose", ""),
        (headache(date="2024-05"), "onset", ""),
        (ck(performer=[{"reference": "Organization/17"}]), "lab", ""),
    ],
)
def test_a_detail_that_cannot_be_read_is_left_out_and_noted(trial, kind, resource, detail, place):
    sent = {"resource": resource} if kind == "collection" else entry(resource)
    answer = trial.post(bundle(sent, type=kind))
    assert statuses(answer) == ["201"]
    notes = [(severity, codes[0], where) for severity, codes, where in said(of_entry(answer, 0))]
    assert notes == [("information", ("notes", "detail_left_out"), [f"Bundle.entry[0].resource{place}"])]
    assert of_entry(answer, 0)["issue"][-1]["details"]["text"].endswith(f": {detail}.")
    assert "set_aside" not in counts(answer.json()["meta"])
    assert len(trial.timelines()) == 1


def test_a_year_of_birth_that_is_left_out_forbids_nothing_in_another_entry(trial):
    answer = trial.post(bundle(entry(patient(id="p", birthDate="2999-01-01"), "PUT", "Patient/p"), entry(ck())))
    assert statuses(answer) == ["201", "201"]


# Withdrawals


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"valueQuantity": None},
        {"dataAbsentReason": {"text": "error"}},
        {"valueQuantity": {"value": 1101, "unit": "furlong"}},
        {"valueQuantity": {"value": "x"}},
        {"valueQuantity": None, "valueString": "withdrawn"},
        {"valueString": "withdrawn"},
        {"referenceRange": [{"high": {"value": 5, "unit": "furlong"}}]},
    ],
)
def test_a_result_is_withdrawn_whatever_stands_where_its_value_was(trial, status, changes):
    trial.post(ck())
    assert trial.labs() == [("CK", 1101)]
    assert trial.post(bundle(entry(ck(status=status, **changes)))).status_code == 200
    assert trial.labs() == []


def test_a_panel_is_withdrawn_without_its_components(trial):
    trial.post(bundle(entry(panel(part("2157-6"), part(AST))), entry(ldh(number="acc-78"))))
    answer = trial.post(bundle(entry(panel(status="entered-in-error"))))
    assert statuses(answer) == ["200"]
    assert counts(answer.json()["meta"]) == {"kept": 2}
    assert trial.labs() == [("LDH", 300)]


def test_a_panel_is_withdrawn_under_its_client_id_whatever_its_code(trial):
    trial.put(panel(part("2157-6"), part(AST), id="mine"))
    for day, name in (("01", "Enzymes"), ("03", "Enzyme panel")):
        assert trial.labs() == [("AST", 40), ("CK", 40)]
        withdrawn = panel(id="mine", status="entered-in-error", code={"text": name}, issued=f"2020-01-{day}T00:00:00Z")
        answer = trial.put(withdrawn)
        assert answer.status_code == 200, answer.text
        assert trial.labs() == []
        trial.put(panel(part("2157-6"), part(AST), id="mine", issued="2020-01-02T00:00:00Z"))


def test_a_result_that_is_withdrawn_under_its_client_id_takes_its_components_with_it(trial):
    trial.put(ck(id="mine", component=[part(AST)]))
    assert trial.labs() == [("AST", 40), ("CK", 1101)]
    trial.put(ck(id="mine", status="entered-in-error"))
    assert trial.labs() == []


def test_a_panel_whose_results_are_not_known_is_set_aside(trial):
    answer = trial.post(bundle(entry(panel(status="entered-in-error"))))
    assert said(of_entry(answer, 0)) == [
        ("warning", [("not-kept", "ambiguous_withdrawal"), ("dispositions", "set_aside")], ["Bundle.entry[0].resource"])
    ]
    assert trial.revision() == 1


def test_another_test_with_the_same_number_withdraws_nothing(trial):
    trial.post(ck())
    answer = trial.post(bundle(entry(ck(code=code("2160-0"), status="entered-in-error", valueQuantity=None))))
    assert counts(answer.json()["meta"]) == {"not_ours": 1}
    assert trial.labs() == [("CK", 1101)]


# Results that are no number


def hemolyzed(status: str = "final", **more: Any) -> dict[str, Any]:
    """A CK result that is a text."""
    return {name: value for name, value in ck(**more).items() if name != "valueQuantity"} | {
        "status": status,
        "valueString": "HEMOLYZED",
    }


def test_a_result_that_is_no_number_is_set_aside_and_has_no_address(trial):
    trial.post(patient())
    answer = trial.post(hemolyzed())
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert said(answer.json()) == [
        ("warning", [("not-kept", "not_a_number"), ("dispositions", "set_aside")], ["Observation"])
    ]
    assert trial.labs() == []


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_result_that_is_no_number_harms_no_other(trial, kind):
    answer = trial.post(bundle(entry(hemolyzed()), entry(ldh()), type=kind))
    assert statuses(answer) == ["200", "201"]
    assert counts(answer.json()["meta"]) == {"kept": 1, "set_aside": 1}
    assert trial.labs() == [("LDH", 300)]


def test_a_batch_of_results_that_are_no_numbers_is_answered_422(trial):
    answer = trial.post(bundle(entry(hemolyzed()), type="batch"))
    assert (answer.status_code, counts(answer.json()["meta"])) == (422, {"set_aside": 1})


def test_a_correction_that_is_no_number_takes_the_place_of_the_value(trial):
    trial.post(ck(1500, issued="2005-03-17T00:00:00Z"))
    answer = trial.post(bundle(entry(hemolyzed("corrected", issued="2005-03-18T00:00:00Z"))))
    assert ("affected", "no-longer-counts") in [codes[0] for _, codes, _ in said(of_entry(answer, 0))]
    assert trial.labs() == []
    trial.post(ck(1400, status="corrected", issued="2005-03-19T00:00:00Z"))
    assert trial.labs() == [("CK", 1400)]


def test_an_original_that_is_no_number_does_not_undo_its_correction(trial):
    trial.post(ck(1500, status="corrected", issued="2005-03-18T00:00:00Z"))
    trial.post(hemolyzed(issued="2005-03-17T00:00:00Z"))
    assert trial.labs() == [("CK", 1500)]


@pytest.mark.parametrize("order", [0, 1])
def test_a_withdrawal_without_a_time_takes_the_only_draw_of_its_number(trial, order):
    trial.post(patient())
    sent = [ck(issued="2005-03-17T00:00:00Z"), ck(status="entered-in-error", issued="2005-03-18T00:00:00Z")]
    del sent[1]["effectiveDateTime"]
    for each in sent[:: 1 - 2 * order]:
        assert trial.post(each).status_code in {200, 201}
    assert trial.labs() == []


# Results inside reports


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_the_results_that_a_report_contains_are_stored(trial, kind):
    sent = bundle(entry(report(ck(), ldh(300, identifier=[]))), type=kind)
    answer = trial.post(sent)
    assert statuses(answer) == ["201"]
    assert counts(answer.json()["meta"]) == {"kept": 2}
    assert trial.labs() == [("CK", 1101), ("LDH", 300)]
    again = trial.post(sent)
    assert (statuses(again), trial.revision()) == (["200"], 1)


def test_a_report_that_is_put_gives_its_results_no_name(trial):
    sent = report(ck(), id="r1")
    assert statuses(trial.post(bundle(entry(sent, "PUT", "DiagnosticReport/r1")))) == ["201"]
    assert statuses(trial.post(bundle(entry(sent, "PUT", "DiagnosticReport/r1")))) == ["200"]
    assert trial.client.get(f"{trial.base}/Observation/r1").status_code == 404
    asked = {"ifNoneExist": "identifier=urn:oid:1.2.3.4|report-1"}
    assert statuses(trial.post(bundle(entry(report(ldh()), **asked)))) == ["201"]


def test_a_report_that_was_an_error_withdraws_its_results(trial):
    trial.post(bundle(entry(report(ck()))))
    trial.post(bundle(entry(report(ck(), status="entered-in-error"))))
    assert trial.labs() == []


def test_one_contained_result_with_a_fault_is_set_aside_in_a_batch_and_refuses_a_transaction(trial):
    wrong = report(ck(), ldh(valueQuantity={"value": 1, "unit": "furlong"}))
    transaction = trial.post(bundle(entry(wrong)))
    assert issues(transaction) == [
        ("error", "code-invalid", "Bundle.entry[0].resource.contained[1].valueQuantity.unit")
    ]
    batch = trial.post(bundle(entry(wrong), type="batch"))
    assert counts(batch.json()["meta"]) == {"kept": 1, "set_aside": 1}
    assert trial.labs() == [("CK", 1101)]


def test_a_result_in_a_resource_that_is_not_read_is_never_skipped(trial):
    hidden = {"resourceType": "Composition", "status": "final", "contained": [ck()]}
    nested = bundle(entry(ck()))
    for resource in (hidden, nested):
        transaction = trial.post(bundle(entry(resource)))
        assert transaction.status_code == 422
        assert "entry of its own" in transaction.json()["issue"][0]["details"]["text"]
        batch = trial.post(bundle(entry(resource), entry(ldh()), type="batch"))
        assert statuses(batch) in (["422", "201"], ["422", "200"])


# Laboratories


def test_the_laboratory_is_kept_and_shown_and_may_be_sent_back(trial):
    made = trial.post(ck(performer=[{"type": "Organization", "display": "Central laboratory"}])).json()
    assert made["performer"] == [{"display": "Central laboratory"}]
    assert trial.put(made).status_code == 200
    [[stored]] = [timeline["labs"] for timeline in trial.timelines()]
    assert (stored["lab"], stored["source"]) == ("Central laboratory", LAB)
    assert trial.revision() == 1


# Merged records


def replaced(number: str, by: dict[str, Any], type: str = "replaced-by", **more: Any) -> dict[str, Any]:
    """A Patient with a link to another one."""
    return patient(number, link=[{"other": by, "type": type}], **more)


def people(trial: Facade) -> int:
    """The number of persons in the analyses of a study."""
    answer = trial.client.get(f"{trial.home}/analyses/response-rates").json()
    return answer["populations"]["all"]


def two_records(trial: Facade) -> None:
    trial.post(bundle(entry(ck(subject=about("OLD"))), entry(ck(number="acc-78", subject=about("NEW")))))
    assert people(trial) == 2


@pytest.mark.parametrize(
    "link",
    [
        replaced("OLD", about("NEW"), active=False),
        replaced("OLD", about("NEW")),
        replaced("NEW", about("OLD"), "replaces"),
        replaced("NEW", about("OLD"), "replaces", active=True),
    ],
)
@pytest.mark.parametrize("kind", ["single", "transaction", "batch"])
def test_a_record_that_was_replaced_is_read_with_the_surviving_one(trial, link, kind):
    two_records(trial)
    answer = trial.post(link if kind == "single" else bundle(entry(link), type=kind))
    assert answer.status_code == 200, answer.text
    assert people(trial) == 1
    merged = [each["patient"].get("merged_into") for each in trial.timelines()]
    ids = [each["patient"]["id"] for each in trial.timelines()]
    assert sorted(filter(None, merged)) == [ids[1 - next(i for i, into in enumerate(merged) if into)]]


def test_a_link_without_a_time_is_noted_and_one_with_a_time_is_not(trial):
    two_records(trial)
    note = ("notes", "issued_from_receipt")
    answer = trial.post(bundle(entry(replaced("OLD", about("NEW"), meta={"lastUpdated": "2020-01-01T00:00:00Z"}))))
    assert "outcome" not in answer.json()["entry"][0]["response"]
    assert note in tagged(trial.post(replaced("OTHER", about("NEW"))))
    assert people(trial) == 1


def test_a_merge_that_is_read_and_sent_back_changes_nothing(trial):
    two_records(trial)
    made = trial.post(replaced("OLD", about("NEW"), meta={"lastUpdated": "2020-01-01T00:00:00Z"})).json()
    revision = trial.revision()
    read = trial.client.get(f"{trial.base}/Patient/{made['id']}").json()
    assert read["link"][0]["type"] == "replaced-by"
    assert trial.put(read).status_code == 200
    assert trial.post(replaced("OLD", about("NEW"))).status_code == 200
    assert trial.revision() == revision


@pytest.mark.parametrize(
    ("link", "code", "place"),
    [
        (replaced("OLD", about("NOBODY")), "not-found", "Patient.link[0].other.identifier"),
        (replaced("OLD", {"reference": "Patient/nobody"}), "not-found", "Patient.link[0].other.reference"),
        (replaced("OLD", about("OLD")), "invalid", "Patient.link[0].other.identifier"),
        (replaced("OLD", about("NEW"), active=True), "invalid", "Patient.active"),
    ],
)
def test_a_link_that_leads_nowhere_or_contradicts_itself_is_refused(trial, link, code, place):
    two_records(trial)
    answer = trial.post(link)
    assert (answer.status_code, issues(answer)) == (422, [("error", code, place)])
    assert people(trial) == 2


@pytest.mark.parametrize("kind", ["single", "transaction", "batch"])
def test_links_that_close_a_ring_of_three_are_refused(trial, kind):
    two_records(trial)
    trial.post(ck(number="acc-79", subject=about("THIRD")))
    links = [replaced(*each) for each in (("OLD", about("NEW")), ("NEW", about("THIRD")), ("THIRD", about("OLD")))]
    refused = ("error", "invalid", "Patient.link[0].other.identifier")
    if kind == "single":
        assert [trial.post(link).status_code for link in links] == [200, 200, 422]
        assert issues(trial.post(links[2])) == [refused]
    elif kind == "batch":
        assert statuses(trial.post(bundle(*map(entry, links), type="batch"))) == ["200", "200", "422"]
    else:
        answer = trial.post(bundle(*map(entry, links)))
        assert answer.status_code == 422
        assert len(issues(answer)) == 3
        assert people(trial) == 3
        return
    assert people(trial) == 1


@pytest.mark.parametrize("later_first", [False, True])
@pytest.mark.parametrize("type", ["replaced-by", "replaces"])
def test_a_link_that_a_later_one_turns_round_counts_one_person(trial, later_first, type):
    two_records(trial)
    pairs = [("OLD", "NEW"), ("NEW", "OLD")] if type == "replaced-by" else [("NEW", "OLD"), ("OLD", "NEW")]
    links = [
        replaced(number, about(other), type, meta={"lastUpdated": f"2020-01-0{day}T00:00:00Z"})
        for day, (number, other) in enumerate(pairs, 1)
    ]
    for link in [*(reversed(links) if later_first else links), *links]:
        assert trial.post(link).status_code == 200
    assert people(trial) == 1
    [surviving] = [each["patient"]["id"] for each in trial.timelines() if "merged_into" not in each["patient"]]
    read = [each["resource"] for each in trial.client.get(f"{trial.base}/Patient").json()["entry"]]
    assert [each["identifier"][0]["value"] for each in read if "link" not in each] == [surviving]


def test_a_link_without_a_time_does_not_turn_a_merge_round(trial):
    two_records(trial)
    trial.post(replaced("OLD", about("NEW")))
    answer = trial.post(replaced("NEW", about("OLD")))
    assert (answer.status_code, issues(answer)) == (
        422,
        [("error", "invalid", "Patient.link[0].other.identifier")],
    )
    assert trial.post(replaced("NEW", about("OLD"), meta={"lastUpdated": "2020-01-01T00:00:00Z"})).status_code == 200
    assert people(trial) == 1


def test_a_record_has_one_surviving_record(trial):
    two_records(trial)
    trial.post(ck(number="acc-79", subject=about("THIRD")))
    links = [{"other": about(number), "type": "replaced-by"} for number in ("NEW", "THIRD")]
    answer = trial.post(patient("OLD", link=links))
    assert issues(answer) == [("error", "invalid", "Patient.link[1].other.identifier")]


def test_both_records_and_their_link_may_come_in_one_transaction(trial):
    old = replaced("OLD", {"reference": "Patient/new"}, id="old")
    sent = [entry(old, "PUT", "Patient/old"), entry(patient("NEW", id="new"), "PUT", "Patient/new")]
    answer = trial.post(bundle(*sent, entry(ck(subject={"reference": "Patient/old"}))))
    assert statuses(answer) == ["201"] * 3
    assert people(trial) == 1


def test_a_chain_of_links_is_one_person(trial):
    two_records(trial)
    trial.post(ck(number="acc-79", subject=about("THIRD")))
    trial.post(replaced("OLD", about("NEW")))
    trial.post(replaced("NEW", about("THIRD")))
    assert people(trial) == 1


def test_a_link_names_no_number_in_its_answer(trial):
    two_records(trial)
    answer = trial.post(replaced("OLD", about("NEW"), identifier=named("OLD", HOSPITAL)))
    assert not any(f'"{number}"' in answer.text for number in ("OLD", "NEW"))


# The worklist and the intake


def test_a_part_that_is_set_aside_is_listed_until_it_is_sent_again(trial):
    wrong = panel(part("2157-6", 98765.4, unit="furlong"), part("2532-0", 210))
    trial.post(wrong)
    [item] = trial.client.get(f"{trial.home}/set-aside").json()["items"]
    assert (item["code"], item["reason"], item["format"], item["sender"]) == ("CK", "unknown_unit", "fhir-r4", LAB)
    assert trial.post(wrong).status_code == 200
    assert trial.revision() == item["revision"]
    trial.post(bundle(entry(panel(part("2157-6", 1200), part("2532-0", 210)))))
    assert trial.client.get(f"{trial.home}/set-aside").json()["items"] == []


def test_what_is_kept_refused_and_not_ours_is_counted(trial):
    title = {"coding": [{"system": "urn:lab", "code": "CKN", "display": "Creatine kinase"}]}
    trial.post(bundle(entry(ck()), entry(ck(number="b", code=title)), entry(ck(number="c", code=code("2951-2")))))
    trial.post(ck(number="d", valueQuantity={"value": 12, "unit": "furlong", "system": UCUM, "code": "furlong"}))
    trial.client.post(
        f"/fhir/{trial.study}/Observation", content=b"{", headers={"Content-Type": "application/fhir+json"}
    )
    intake = trial.client.get(f"{trial.home}/intake").json()
    sources = {source["sender"]: source for source in intake["items"]}
    assert sources[LAB]["kept"] == 1
    unknown = {(each["system"], each["code"]) for source in intake["items"] for each in source["not_ours"]}
    assert unknown == {("urn:lab", "CKN"), (LOINC, "2951-2")}
    assert sources[None]["refused"] == {"malformed": 1, "unknown_unit": 1}
    local = [each["value"] for each in intake["proposals"] if each["declaration"] == "local_codes"]
    assert local == [{"urn:lab|CKN": "CK"}]


@pytest.mark.parametrize(
    ("wrong", "reason", "known"),
    [
        (part(AST, modifierExtension=[{"url": "urn:x"}]), "unknown_modifier", "AST"),
        (part(AST, code={"coding": [*code(AST)["coding"], *code("2157-6")["coding"]]}), "code_conflict", None),
    ],
)
def test_a_part_without_a_statement_is_listed_once_for_each_result(trial, wrong, reason, known):
    for number in ("a", "b", "b"):
        trial.post(panel(part("2532-0", 210), wrong, identifier=named(number)))
    items = trial.client.get(f"{trial.home}/set-aside").json()["items"]
    assert [(item["code"], item["reason"], item["sender"]) for item in items] == [(known, reason, LAB)] * 2


def test_each_withdrawn_panel_whose_results_are_not_known_is_listed(trial):
    withdrawn = [panel(status="entered-in-error", identifier=named(number)) for number in ("a", "b")]
    for each in (*withdrawn, report(panel(status="cancelled", identifier=named("c")))):
        answer = trial.post(bundle(entry(each)))
        assert counts(answer.json()["meta"]) == {"set_aside": 1}
    items = trial.client.get(f"{trial.home}/set-aside").json()["items"]
    assert [(item["reason"], item["sender"]) for item in items] == [("ambiguous_withdrawal", LAB)] * 3


@pytest.mark.parametrize("hold", [panel, lambda *parts: report(*[ck(**each) for each in parts])])
@pytest.mark.parametrize("others", [[], [part("2157-6")]])
def test_a_part_that_is_not_ours_is_counted_by_its_code(trial, hold, others):
    trial.post(patient())
    local = {"coding": [{"system": "urn:lab", "code": "CKN", "display": "Creatine kinase"}]}
    answer = trial.post(bundle(entry(hold(*others, part("", code=local), part("2951-2", unit="mmol/L")))))
    assert counts(answer.json()["meta"]) == {"not_ours": 2} | ({"kept": 1} if others else {})
    intake = trial.client.get(f"{trial.home}/intake").json()
    unknown = [(each["system"], each["code"]) for source in intake["items"] for each in source["not_ours"]]
    assert sorted(unknown) == [(LOINC, "2951-2"), ("urn:lab", "CKN")]
    assert {"urn:lab|CKN": "CK"} in [each["value"] for each in intake["proposals"]]


# Patients whom the study does not have


@pytest.fixture
def enrolled(serve, sqlite_url) -> Facade:
    """A study that has the patient MRN-1, and to which feeds may add no patient."""
    client = serve(sqlite_url, pseudonym_secret=SECRET)
    Facade(client).post(patient())
    return Facade(client, enrolled_only=True)


STRANGER = [
    ck(subject=about("MRN-9")),
    patient("MRN-9"),
    {"resourceType": "Patient", "identifier": named("9", HOSPITAL)},
]


@pytest.mark.parametrize("resource", STRANGER)
@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_patient_who_is_not_enrolled_is_set_aside_and_the_others_are_kept(enrolled, kind, resource):
    answer = enrolled.post(bundle(entry(resource), entry(ck()), type=kind))
    assert statuses(answer) == ["200", "201"]
    found = said(of_entry(answer, 0))
    assert {(each[0], *each[1]) for each in found} == {
        ("warning", ("faults", "unknown_reference"), ("dispositions", "set_aside"))
    }
    assert counts(answer.json()["meta"]) == {"kept": 1, "set_aside": len(found)}
    assert "location" not in answer.json()["entry"][0]["response"]
    assert enrolled.labs() == [("CK", 1101)]
    assert len(enrolled.timelines()) == 1
    worklist = enrolled.client.get(f"{enrolled.home}/set-aside").json()["items"]
    assert [each["reason"] for each in worklist] == ["unknown_reference"] * len(found)


@pytest.mark.parametrize("resource", STRANGER)
def test_a_single_resource_of_a_patient_who_is_not_enrolled_is_set_aside(enrolled, resource):
    for answer in (enrolled.post(resource), enrolled.put(resource | {"id": "mine"})):
        assert answer.status_code == 200
        assert {tuple(each[1]) for each in said(answer.json())} == {
            (("faults", "unknown_reference"), ("dispositions", "set_aside"))
        }
    assert len(enrolled.timelines()) == 1
    assert enrolled.client.get(f"{enrolled.base}/{resource['resourceType']}/mine").status_code == 404


def test_a_batch_of_one_patient_who_is_not_enrolled_keeps_nothing(enrolled):
    answer = enrolled.post(bundle(entry(STRANGER[0]), type="batch"))
    assert answer.status_code == 422
    assert counts(answer.json()["meta"]) == {"set_aside": 1}


# Several statements of one result in a transaction


@pytest.mark.parametrize("order", [1, -1])
def test_the_receipts_of_a_transaction_say_what_stands_after_all_of_it(trial, order):
    later = ck(200, issued="2005-03-17T09:00:00+09:00")
    answer = trial.post(bundle(*[entry(each) for each in [ck(100), later][::order]]))
    assert counts(answer.json()["meta"]) == {"kept": 1, "not_applied": 1}
    first = of_entry(answer, 0 if order > 0 else 1)
    assert [each[:2] for each in said(first)] == [
        ("warning", [("not-kept", "superseded"), ("dispositions", "not_applied")])
    ]
    assert trial.labs() == [("CK", 200)]
