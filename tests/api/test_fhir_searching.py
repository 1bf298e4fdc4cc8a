"""Searches by FHIR: the meaning of each parameter, pages, and refusals."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import FaultCode
from app.fhir.date_parameter import bound
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import BASE
from tests.api.examples import FIRST, fill, lab, make_study, timeline
from tests.api.fhir_reads import HOME, got, issues, link, resources, walk
from tests.documented import Documented
from tests.repetition import repeats


@pytest.fixture(scope="module")
def searchable(migrated_file, tmp_path_factory) -> Iterator[Any]:
    """A study with three patients and its own code, which is searched and not changed."""
    file = shutil.copy(migrated_file, tmp_path_factory.mktemp("searchable") / "x.db")
    app = create_app(Settings(database_url=f"sqlite:///{file}"))
    with Documented(app, base_url=BASE) as client:
        make_study(client, identifiers="pseudonyms", local_codes={"L|KK": "CK"})
        for who in ("P00", "P01", "P02"):
            client.put(f"/v1/studies/trial/patients/{who}", json=timeline(who))
        yield client


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("patient=P01", 17), ("patient=Patient/P01", 17), ("subject=Patient/P01,P02", 34), ("patient=P09", 0),
        ("patient=P01&subject=P02", 0), (f"patient={BASE}/fhir/trial/Patient/P01", 17),
        ("code=http://loinc.org|2157-6", 21), ("code=urn:oid:2.16.840.1.113883.6.1|2157-6", 21), ("code=2157-6", 21),
        ("code=CK", 21), ("code=urn:myoresponse:codes|CK,urn:myoresponse:codes|ADL", 36), ("code=MMT", 15),
        ("code=urn:race|2157-6", 0), ("code=http://loinc.org|", 21), ("code=|2157-6", 0), ("code=L|KK", 21),
        ("code=KK", 21), ("code=12345-6", 0),
        (f"date={FIRST}", 0), ("date=2005-04-10", 9), ("date=ge2005-04-10&date=le2005-04-10", 9), ("date=2005-03", 3),
        ("date=2005", 51), ("date=gt2005", 0), ("date=lt2005-04-10", 3), ("date=2005-04-10T00:00:00Z", 3),
        ("date=ge2005-04-10T09:00+09:00&date=lt2005-04-11&code=CK", 3), ("date=ne2005-04-10", 42),
        ("status=final", 51), ("status=corrected,registered", 0), ("status=entered-in-error", 0),
        ("_lastUpdated=ge2005", 51), ("_lastUpdated=gt2105", 0), ("_lastUpdated=lt2005&code=CK", 0),
        ("identifier=x", 0), ("_id=nobody", 0), ("_format=json&_pretty=true", 51), ("_count=0", 51),
        ("patient.identifier=urn:myoresponse:subject|P01", 17), ("patient.identifier=P01", 17),
    ],
)  # fmt: skip
def test_a_search_finds_what_meets_every_parameter(searchable, query, count):
    bundle = got(searchable, "Observation?" + query)
    assert bundle["total"] == count
    assert bundle["type"] == "searchset"
    if "_count=0" not in query:
        assert len(bundle.get("entry", [])) == count
    assert got(searchable, link(bundle, "self"))["total"] == count


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("MedicationAdministration?code=http://www.whocc.no/atc|J06BA02", 3),
        ("MedicationAdministration?code=J06BA01", 0),
        ("MedicationAdministration?effective-time=2005-04-11&effective-time=lt2006", 3),
        ("MedicationAdministration?status=completed", 3),
        ("MedicationAdministration?status=http://terminology.hl7.org/CodeSystem/medication-admin-status|stopped", 0),
        ("AdverseEvent?subject=P01&date=ge2005", 0),
        ("Patient?_id=P01,P02,P09", 2),
        ("Patient?identifier=urn:myoresponse:subject|P01", 1),
        ("Patient?_id=P01&identifier=P02", 0),
        ("Patient?_lastUpdated=ge2005", 3),
    ],
)
def test_every_type_is_searched_by_its_own_parameters(searchable, address, count):
    bundle = got(searchable, address)
    assert bundle["total"] == len(bundle.get("entry", [])) == count
    assert got(searchable, link(bundle, "self"))["total"] == count


@pytest.mark.parametrize(
    ("query", "fault", "place"),
    [
        ("_sort=code", "unknown_value", "http._sort"),
        ("_sort=date,-code", "unknown_value", "http._sort"),
        ("_summary=text", "unknown_value", "http._summary"),
        ("_elements=-text", "bad_text", "http._elements"),
        ("_include=Observation:subject", "unknown_parameter", "http._include"),
        ("_include:iterate=Observation:subject", "unknown_parameter", "http._include:iterate"),
        ("code:in=x", "unknown_parameter", "http.code:in"),
        ("patient.name=x", "unknown_parameter", "http.patient"),
        ("category=", "bad_text", "http.category"),
        ("nobody=x", "unknown_parameter", "http"),
        ("date=ap2005", "bad_time", "http.date"),
        ("date=yesterday", "bad_time", "http.date"),
        ("date=2005-02-30", "bad_time", "http.date"),
        ("date=2005-03-16T09:48:00", "no_offset", "http.date"),
        ("_lastUpdated=now", "bad_time", "http._lastUpdated"),
        ("_count=-1", "out_of_range", "http._count"),
        ("_count=ten", "wrong_type", "http._count"),
        ("code=CK&code=MMT", "repeated_parameter", "http.code"),
        ("status=finished", "unknown_value", "http.status"),
        ("code=", "bad_text", "http.code"),
        ("code=" + ",".join("x" * 51), "too_many", "http.code"),
        ("&".join(["date=2005"] * 11), "too_many", "http.date"),
        ("_format=xml", "unknown_value", "http._format"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused_and_never_passed_over(searchable, query, fault, place):
    assert (fault, [place]) in issues(searchable, "Observation?" + query)


def test_a_cursor_is_given_alone_and_is_of_its_search(searchable):
    following = link(got(searchable, "Observation?_count=1"), "next")
    assert issues(searchable, following + "&patient=P01") == [("contradiction", ["http.patient"])]
    assert issues(searchable, following.replace("Observation", "AdverseEvent"), 400)[-1][0] == "malformed"
    assert issues(searchable, following[:-2], 400)[-1][0] == "malformed"
    got(searchable, following + "&_format=json")


@pytest.mark.parametrize("kind", ["Patient", "Observation", "MedicationAdministration"])
def test_a_walk_sees_every_resource_once_while_others_are_posted(anywhere, kind):
    home = fill(anywhere, 3)
    before = resources(got(anywhere, f"{kind}?_count=500"))
    seen, following, number = [], f"{kind}?_count=2", 0
    while following:
        bundle = got(anywhere, following)
        seen += resources(bundle)
        assert len(seen) <= 500, "the walk goes in circles"
        following = link(bundle, "next")
        number += 1
        more = timeline(f"P0{number % 3}", ck=7 * number, labs=[lab(200 + number, 5)])
        assert anywhere.post(f"{home}/patients/{more['patient']['id']}/events", json=more).status_code == 200
        anywhere.put(f"{home}/patients/N{number}", json=timeline(f"N{number}"))
    assert seen == before
    assert len({each["id"] for each in seen}) == len(seen)


def test_the_total_is_given_where_it_is_cheap_or_requested(searchable):
    assert "total" not in got(searchable, "Observation?_count=5")
    assert got(searchable, "Observation?_count=5&_total=accurate")["total"] == 51
    assert got(searchable, "Observation?_count=5&patient=P01")["total"] == 17
    assert "total" not in got(searchable, "Observation?_count=5&patient=P01&_total=none")
    second = got(searchable, link(got(searchable, "Observation?_count=5&patient=P01"), "next"))
    assert second["total"] == 17


def test_a_form_asks_the_same_as_an_address(searchable):
    form = {"patient": "P01", "date": ["ge2005-04-10", "lt2005-05"], "_count": "3"}
    posted = searchable.post(f"{HOME}/Observation/_search", data=form)
    assert posted.status_code == 200
    asked = got(searchable, "Observation?patient=P01&date=ge2005-04-10&date=lt2005-05&_count=3")
    assert posted.json()["entry"] == asked["entry"]
    assert len(walk(searchable, link(posted.json(), "next"))) == posted.json()["total"] - 3
    for wrong, status in ((b"patient=%ff", 400), (b"patient=\xff", 400), (b"_sort=code", 422), (b"code=a&code=b", 422),
                          (b"_count=x", 422), (b"&".join([b"a=1"] * 200), 400)):  # fmt: skip
        refused = searchable.post(
            f"{HOME}/Observation/_search", content=wrong, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert refused.status_code == status, wrong
        assert refused.json()["resourceType"] == "OperationOutcome"
    assert searchable.post(f"{HOME}/Observation/_search", json={}).status_code == 415


@settings(max_examples=repeats(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            ["patient", "code", "date", "_lastUpdated", "identifier", "_id", "status", "_count", "_cursor"]
        ),
        st.text(max_size=40) | st.from_regex(r"(ge|lt|eq)?\d{4}(-\d\d){0,2}(T\d\d:\d\d(:\d\d)?Z)?", fullmatch=True),
    )
)
def test_any_question_is_answered_or_refused(searchable, asked):
    answer = searchable.get(f"{HOME}/Observation", params=asked)
    assert answer.status_code in {200, 400, 422}, answer.text
    assert answer.json()["resourceType"] == ("Bundle" if answer.status_code == 200 else "OperationOutcome")


@given(st.text(max_size=40) | st.from_regex(r"(ge|sa)?\d{4}(-\d\d){0,2}(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?"))
def test_any_text_is_a_date_of_a_search_or_a_fault(text):
    for of_instants in (False, True):
        read = bound(text, of_instants=of_instants)
        assert isinstance(read, FaultCode) or read.low < read.high
