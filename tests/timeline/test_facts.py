"""The schema of facts: all that is made of facts follows from it, so that a field is written once."""

import json
from typing import get_type_hints

import numpy as np
import pytest
from sqlalchemy import BigInteger, Boolean, Double, Text

from app.readers.table_kinds import COLUMNS_OF
from app.store import hashes
from app.store.assertions import Assertion, Changes
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import patient_leaf
from app.store.tables import FACTS
from app.store.timelines import fact_document
from app.timeline import cohort
from app.timeline.cohort import NO_TIME, TABLES, Bools, Cohort, Floats, Ints, PatientRow, Words
from app.timeline.document import ITEMS, LabResult
from app.timeline.facts import FACT_TYPES, FIELDS, KINDS, READ_BY_ANALYSES
from app.timeline.normalize import SECTIONS
from tests.timeline.documents import document, history, lab

LEDGER = ["patient_key", "identity", "added", "ordinal", "removed"]
BESIDE = ["notes", "draw", "mark"]
SQL_TYPES = {str: Text, int: BigInteger, float: Double, bool: Boolean}
EVERYTHING = document(
    labs=[lab(id="7", source="S", version=2, issued="2005-03-17T08:00:00Z", comparator="<", lower_limit=45, lab="A")],
    assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62, "scale_max": 100, "source": "S", "id": "8"}],
    infusions=[{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 1}],
    medications=[{"drug": "prednisolone", "start": "2005-01-20", "end": "2005-06-30", "dose": 50, "unit": "mg/d"}],
    adverse_events=[
        {"onset": "2005-04-12", "term": "headache", "severity": "mild", "serious": False, "related": "possible"}
    ],
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_holds_the_fields_of_its_facts_beside_the_columns_of_the_ledger(kind):
    table, fact = FACTS[kind]
    fields = {field.name: field for field in FIELDS[kind]}
    assert tuple(fields) == fact._fields
    assert [column.name for column in table.columns] == [*LEDGER, *fact._fields[1:], *BESIDE]
    for column in table.columns:
        if column.name not in {*LEDGER, *BESIDE}:
            assert isinstance(column.type, SQL_TYPES[fields[column.name].type])
            assert column.nullable == fields[column.name].optional


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_says_what_it_means_and_stores_a_type_that_a_table_has(kind):
    assert [field.name for field in FIELDS[kind] if not field.meaning or field.type not in SQL_TYPES] == []


def test_what_analyses_read_is_what_0_1_0_read():
    """Rows, columns and digests hold these fields in this order; `ordered` came later, and only orders have it."""
    assert {kind: " ".join(field.name for field in fields) for kind, fields in READ_BY_ANALYSES.items()} == {
        "attributes": "identity value",
        "labs": "code day instant utc value upper_limit comparator issued lab",
        "assessments": "code day instant utc score scale_max issued",
        "infusions": "product day instant utc dose unit course",
        "medications": "drug start_day end_day dose unit ordered",
        "events": "day instant utc term severity serious related",
    }


def test_rows_are_sorted_as_0_1_0_sorted_them():
    assert {
        kind: " ".join(field.name for field in sorted(fields, key=lambda field: field.read.sort))
        for kind, fields in READ_BY_ANALYSES.items()
    } == {
        "attributes": "identity value",
        "labs": "code day instant issued value upper_limit comparator lab utc",
        "assessments": "code day instant issued score scale_max utc",
        "infusions": "day instant product dose unit course utc",
        "medications": "start_day drug end_day dose unit ordered",
        "events": "day instant term serious related severity utc",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_fields_have_the_same_place_in_a_row_or_in_its_order(kind):
    read = [field.read for field in READ_BY_ANALYSES[kind]]
    assert [each.place for each in read] == list(range(1, len(read) + 1))
    assert sorted(each.sort for each in read) == list(range(1, len(read) + 1))


@pytest.mark.parametrize("kind", TABLES)
def test_the_columns_of_a_cohort_have_the_names_and_types_that_are_declared_for_them(kind):
    """They are written for the type checker; what they hold is decided by the schema."""
    declared = {name: hint for name, hint in get_type_hints(TABLES[kind]).items() if name not in {"kind", "patient"}}
    assert list(declared) == [field.name for field in READ_BY_ANALYSES[kind]]
    dtypes = {Ints: np.int64, Floats: np.float64, Bools: np.bool_, Words: np.object_}
    table = getattr(Cohort.of_histories([history(EVERYTHING)]), kind)
    assert {name: getattr(table, name).dtype.type for name in declared} == {
        name: dtypes[hint] for name, hint in declared.items()
    }


@pytest.mark.parametrize("kind", TABLES)
def test_a_row_by_names_is_a_row_by_places(kind):
    names = {"labs": "LabRow", "assessments": "AssessmentRow", "infusions": "InfusionRow",
             "medications": "MedicationRow", "events": "EventRow"}  # fmt: skip
    assert getattr(cohort, names[kind])._fields == ("patient", *[field.name for field in READ_BY_ANALYSES[kind]])


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_gives_back_the_values_of_its_rows(kind):
    of_one = history(EVERYTHING)
    table = getattr(Cohort.of_histories([of_one]), kind)
    [fact] = getattr(of_one, kind)
    for field in READ_BY_ANALYSES[kind]:
        assert cohort.cells(table, field.name) == [getattr(fact, field.name)]


@pytest.mark.parametrize("kind", TABLES)
def test_a_field_without_a_value_is_absent_in_rows_and_in_columns(kind):
    row = {"code": "CK" if kind == "labs" else "MMT", "day": 1, "start_day": 1, "utc": False, "ordered": False}
    absent = tuple(row.get(field.name, None if field.optional else "x") for field in READ_BY_ANALYSES[kind])
    rows = {each: [("P", *absent)] if each == kind else [] for each in TABLES}
    table = getattr(Cohort.assemble([PatientRow("P")], **rows), kind)
    for field, value in zip(READ_BY_ANALYSES[kind], absent, strict=True):
        assert cohort.cells(table, field.name) == [value]
        if value is None and field.type is int:
            assert getattr(table, field.name)[0] == (0 if field.name == "course" else NO_TIME)


@pytest.mark.parametrize("kind", TABLES)
def test_a_document_gives_back_every_field_that_a_document_may_have(kind):
    [fact] = getattr(history(EVERYTHING), kind)
    section = "adverse_events" if kind == "events" else kind
    [sent] = EVERYTHING[section]
    assert fact_document(kind, fact) == sent | {"status": "final"}


def test_a_document_says_first_what_happened_and_then_who_stated_it():
    of_one = history(EVERYTHING)
    assert {kind: " ".join(fact_document(kind, getattr(of_one, kind)[0])) for kind in TABLES} == {
        "labs": "code time value unit comparator upper_limit lower_limit lab source id version issued status",
        "assessments": "code time score scale_max source id status",
        "infusions": "time product dose unit course status",
        "medications": "drug start end dose unit status",
        "events": "onset term severity serious related status",
    }
    attribute = history({"patient": {"id": "P01", "weight_kg": 49}}).attributes[0]
    assert json.dumps(fact_document("attributes", attribute)) == '{"name": "weight_kg", "value": 49, "status": "final"}'


def test_a_number_that_was_converted_is_given_back_as_it_was_sent():
    converted = lab(value=2, unit="ukat/L", upper_limit=3, lower_limit=1)
    [fact] = history(document(labs=[converted])).labs
    assert (fact.value, fact.upper_limit, fact.lower_limit) == (120, 180, 60)
    assert fact_document("labs", fact) == converted | {"status": "final"}


def test_truth_values_are_recognised_by_their_type():
    """SQLite gives numbers back in their place."""
    flags = {kind: [FACT_TYPES[kind]._fields[place] for place in each.flags] for kind, each in FACT_TABLES.items()}
    assert flags == {
        "attributes": [], "labs": ["utc"], "assessments": ["utc"], "infusions": ["utc"], "medications": [],
        "events": ["utc", "serious"],
    }  # fmt: skip


def test_a_table_of_results_has_a_column_for_every_field_of_a_result():
    assert {"patient", "code_system", "reference_range"} | set(LabResult.model_fields) == set(COLUMNS_OF["labs"])


@pytest.mark.parametrize("kind", TABLES)
def test_what_a_document_may_say_is_stored(kind):
    read_only = {"code_text"} if kind == "labs" else set()
    stored = {field.sent.name or field.name for field in FIELDS[kind]}
    assert set(ITEMS[SECTIONS[kind]].model_fields) - read_only <= stored


def leaf(*facts):
    return patient_leaf(b"salt", 3, "P01", 1, {"labs": Changes([Assertion(fact, 3) for fact in facts])})


def test_a_field_that_came_later_does_not_change_the_leaves_that_were_made_before_it(monkeypatch):
    facts = history(document(labs=[lab(), lab(time="2005-03-17")])).labs
    before = leaf(*facts)
    first = len(facts[0])
    monkeypatch.setitem(hashes._LATER, "labs", [*hashes._LATER["labs"], first, first + 1])
    assert leaf(*[(*fact, None, None) for fact in facts]) == before
    told = {leaf(*[(*fact, *more) for fact in facts]) for more in ((None, None), ("serum", None), (None, "serum"))}
    assert len(told) == 3


def test_every_kind_of_a_history_is_stored():
    assert list(FACT_TYPES) == list(KINDS) == list(FACTS) == list(FACT_TABLES)
