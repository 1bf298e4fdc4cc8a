"""Facts inside other resources: contained results of reports and panels, and facts where none are read."""

import pytest

from app.readers.statements import history_of
from tests.fhir.fhir_messages import (
    LATEST,
    REMOVED,
    bundle,
    changed,
    ck,
    concept,
    faults,
    history_and_faults,
    ivig,
    left_out,
    only,
    person,
    post,
    quantity,
    rash,
    read,
    read_all,
    set_aside,
)

TIME = "2005-03-16T09:48:00+09:00"
LIMITLESS = {"referenceRange": REMOVED}
LDH, CREATININE = concept("2532-0"), concept("2160-0")


def inside(**changes):
    """A contained result, without an identifier."""
    return ck(**{"id": "o1", "identifier": REMOVED} | changes)


def report(*contained, **changes):
    """A DiagnosticReport that contains these resources."""
    resource = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "identifier": [{"system": "urn:lab:a", "value": "report-1"}],
        "status": "final",
        "code": {"text": "panel"},
        "subject": {"reference": "Patient/P01"},
        "contained": list(contained),
        "result": [{"reference": f"#{each.get('id')}"} for each in contained],
    }
    return changed(resource, **changes)


def test_a_contained_result_is_the_fact_that_it_is_by_itself():
    entry = read(report(ck(id="o1")))
    assert (entry.faults, entry.aside, entry.subject) == ((), (), read(ck()).subject)
    assert history_and_faults(entry) == history_and_faults(read(ck()))
    assert history_and_faults(entry)[0].place("labs", 0) == "DiagnosticReport.contained[0]"


def test_the_id_of_a_contained_resource_is_no_number():
    fact = only(report(inside()))
    assert (fact.id, fact.source) == (None, None)
    assert fact == only(ck(id=REMOVED, identifier=REMOVED))


def test_several_contained_results_are_several_facts():
    history, wrong = history_and_faults(read(report(inside(), inside(id="o2", code=LDH))))
    assert (wrong, [fact.code for fact in history.labs]) == ((), ["CK", "LDH"])


@pytest.mark.parametrize(
    ("changes", "of_report", "expected"),
    [
        ({"subject": REMOVED}, {}, {}),
        ({"effectiveDateTime": REMOVED}, {"effectiveDateTime": TIME}, {"time": TIME}),
        ({}, {"effectiveDateTime": "2005-03-17"}, {"time": TIME}),
        ({}, {"issued": "2005-03-17T00:00:00Z"}, {"issued": 1_111_017_600_000_000}),
        ({"issued": "1970-01-01T00:00:00Z"}, {"issued": "2005-03-17T00:00:00Z"}, {"issued": 0}),
        ({}, {"status": "cancelled"}, {"status": "cancelled"}),
        ({}, {"status": "entered-in-error"}, {"status": "entered-in-error"}),
        ({"status": "corrected"}, {"status": "final"}, {"status": "corrected"}),
        ({}, {"subject": REMOVED}, {}),
    ],
)
def test_what_a_contained_result_does_not_say_is_said_by_its_report(changes, of_report, expected):
    fact = only(report(inside(**changes), **of_report))
    assert {name: getattr(fact, name) for name in expected} == expected
    assert read(report(inside(**changes), **of_report)).subject == read(ck()).subject


@pytest.mark.parametrize(
    ("changes", "of_report", "place", "code"),
    [
        ({"effectiveDateTime": REMOVED}, {}, ".effective[x]", "missing"),
        ({"effectiveDateTime": REMOVED}, {"effectivePeriod": {"start": TIME}}, ".effective[x]", "missing"),
        ({"subject": {"reference": "Patient/P02"}}, {}, ".subject", "ambiguous_subject"),
        (
            {"valueQuantity": quantity(1, "furlong"), "referenceRange": REMOVED},
            {},
            ".valueQuantity.code",
            "unknown_unit",
        ),
        ({"valueQuantity": quantity(1, "ng/mL"), "referenceRange": REMOVED}, {}, ".valueQuantity.code", "mass_unit"),
        ({"modifierExtension": []}, {}, ".modifierExtension", "unknown_modifier"),
    ],
)
def test_a_contained_result_with_a_fault_harms_no_other_unless_all_must_be_stored(changes, of_report, place, code):
    both = report(inside(id="o2", code=LDH), inside(**changes), **of_report)
    assert set_aside(both) == [("DiagnosticReport.contained[1]" + place, code)]
    [entry] = read_all(bundle(post(both))).entries
    _, late = history_of("P01", entry.statements, LATEST)
    assert [(fault.pointer, fault.code) for fault in (*entry.faults, *late)] == [
        ("Bundle.entry[0].resource.contained[1]" + place, code)
    ]
    assert faults(report(inside(**changes), **of_report)) == [("DiagnosticReport.contained[0]" + place, code)]


@pytest.mark.parametrize(
    ("of_report", "place", "code"),
    [
        ({"status": REMOVED}, ".status", "missing"),
        ({"status": "done"}, ".status", "unknown_value"),
        ({"modifierExtension": []}, ".modifierExtension", "unknown_modifier"),
        ({"implicitRules": "urn:rules"}, ".implicitRules", "unknown_modifier"),
        ({"subject": {"reference": "Group/1"}}, ".subject.reference", "unsupported"),
    ],
)
def test_a_report_with_results_must_itself_be_understood(of_report, place, code):
    assert ("DiagnosticReport" + place, code) in faults(report(inside(), **of_report))


def test_of_a_report_without_results_of_ours_nothing_is_checked():
    entry = read(report(inside(code=CREATININE), status="done", subject=REMOVED))
    assert (entry.skipped, entry.faults) == ("resource", ())


def test_what_is_not_ours_beside_a_contained_result_is_listed():
    entry = read(report(inside(), inside(id="o2", code=CREATININE)))
    assert [(line.place, line.disposition, line.reason) for line in entry.aside] == [
        ("DiagnosticReport.contained[1]", "not_ours", "code")
    ]


def test_a_panel_may_contain_its_members():
    panel = ck(
        code=concept("24325-3"), valueQuantity=REMOVED, contained=[inside(), inside(id="o2", code=LDH)],
        hasMember=[{"reference": "#o1"}, {"reference": "#o2"}],
    )  # fmt: skip
    history, wrong = history_and_faults(read(panel))
    assert (wrong, [fact.code for fact in history.labs]) == ((), ["CK", "LDH"])


def test_a_contained_result_may_be_of_a_contained_patient():
    contained = inside(subject={"reference": "#p"})
    entry = read(report(contained, person(id="p"), subject={"reference": "#p"}))
    assert (entry.faults, entry.subject, len(entry.statements)) == ((), "P01", 1)


LIST = {"resourceType": "List", "contained": [inside()]}
COMPOSITION = {"resourceType": "Composition", "status": "final", "contained": [inside()]}
BUNDLE = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": person()}, {"resource": ck()}]}
PARAMETERS = {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": ivig()}]}


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        (COMPOSITION, "contained[0]"),
        ({**COMPOSITION, "contained": [ivig()]}, "contained[0]"),
        ({**COMPOSITION, "contained": [rash()]}, "contained[0]"),
        (
            {**COMPOSITION, "contained": [{"resourceType": "List", "contained": [inside()]}]},
            "contained[0].contained[0]",
        ),
        (BUNDLE, "entry[1].resource"),
        ({**BUNDLE, "entry": [{"resource": BUNDLE}]}, "entry[0].resource.entry[1].resource"),
        (PARAMETERS, "parameter[0].resource"),
        (report(ivig()), "contained[0]"),
    ],
)
def test_a_fact_inside_a_resource_that_is_not_read_is_refused_with_what_to_do(resource, place):
    [entry] = read_all(bundle(post(resource))).entries
    [fault] = entry.faults
    assert (fault.pointer, fault.code) == (f"Bundle.entry[0].resource.{place}", "unsupported")
    assert "entry of its own" in fault.sentence
    assert entry.skipped is None


@pytest.mark.parametrize(
    "inner",
    [inside(code=CREATININE), inside(status="registered"), person(), rash(actuality="potential"), 1, {}],
)
def test_what_is_not_ours_inside_a_resource_that_is_not_read_does_no_harm(inner):
    entry = read({**COMPOSITION, "contained": [inner]})
    assert (entry.skipped, entry.faults) == ("resource", ())


@pytest.mark.parametrize("outer", [ivig, rash, person, ck])
def test_a_fact_inside_a_resource_that_is_kept_is_said_to_be_left_out(outer):
    assert left_out(outer(contained=[ivig(id="inner")])) == ["contained"]
    assert read(outer(contained=[ivig(id="inner")])).statements == read(outer()).statements
