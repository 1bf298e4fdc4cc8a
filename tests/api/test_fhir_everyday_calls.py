"""What EHRs and client libraries send and ask by default: conditional updates, sorted searches, batches that read."""

import pytest

from tests.api.fhir_bodies import (
    FHIR,
    HOSPITAL,
    LAB,
    LOINC,
    SECRET,
    Facade,
    about,
    asks,
    bundle,
    ck,
    entry,
    headache,
    infusion,
    issues,
    issues_in,
    ldh,
    patient,
    taken,
)
from tests.api.fhir_reads import resources

OTHERS = "http://another.example/fhir/trial"


@pytest.fixture
def trial(client):
    """A study whose identifiers are pseudonyms."""
    return Facade(client, identifiers="pseudonyms")


@pytest.fixture
def trial_anywhere(serve, migrated_url):
    """A study whose identifiers are numbers of medical records, on each engine."""
    return Facade(serve(migrated_url, pseudonym_secret=SECRET))


def upsert(trial, resource, identifier, **headers):
    """A conditional update."""
    return trial.send("PUT", f"/{resource['resourceType']}?identifier={identifier}", resource, **headers)


def texts(outcome):
    return [each["details"]["text"] for each in outcome["issue"]]


def found(trial, query):
    """The page that answers a search."""
    answer = trial.client.get(f"{trial.base}/{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


# Conditional update


def test_a_conditional_update_creates_then_updates_and_is_repeated_without_a_revision(trial_anywhere):
    trial = trial_anywhere
    first = upsert(trial, ck(), f"{LAB}|acc-77")
    assert first.status_code == 201
    again = upsert(trial, ck(), f"{LAB}|acc-77")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    before = trial.revision()
    changed = upsert(trial, ck(1200), f"{LAB}%7Cacc-77")
    assert (changed.status_code, changed.json()["id"]) == (200, first.json()["id"])
    assert trial.revision() == before + 1
    assert trial.labs() == [("CK", 1200)]


def test_a_conditional_update_may_move_the_time_as_an_update_by_id(trial):
    stored = upsert(trial, ck(), f"{LAB}|acc-77").json()
    moved = upsert(trial, ck(effectiveDateTime="2005-03-17T09:48:00+09:00"), f"{LAB}|acc-77")
    assert (moved.status_code, moved.json()["id"]) == (200, stored["id"])
    [timeline] = trial.timelines()
    assert [lab["time"] for lab in timeline["labs"]] == ["2005-03-17T09:48:00+09:00"]


def test_one_accession_number_of_two_analytes_is_two_resources(trial):
    assert upsert(trial, ck(), f"{LAB}|acc-77").status_code == 201
    assert upsert(trial, ldh(number="acc-77"), f"{LAB}|acc-77").status_code == 201
    assert upsert(trial, ck(1300), f"{LAB}|acc-77").status_code == 200
    assert trial.labs() == [("CK", 1300), ("LDH", 300)]


def test_several_draws_under_one_identifier_are_412_and_nothing_is_stored(trial_anywhere):
    trial = trial_anywhere
    trial.post(ck())
    trial.post(ck(900, effectiveDateTime="2005-03-23T09:48:00+09:00"))
    before = trial.revision()
    answer = upsert(trial, ck(5), f"{LAB}|acc-77")
    assert answer.status_code == 412
    assert texts(answer.json()) == ["Several resources have the identifier of the condition."]
    sent = trial.post(bundle(entry(ck(5), "PUT", f"Observation?identifier={LAB}|acc-77")))
    assert sent.status_code == 412
    assert trial.revision() == before


def test_a_conditional_update_of_each_type(trial_anywhere):
    trial = trial_anywhere
    for make, identifier in (
        (patient, f"{HOSPITAL}|MRN-1"), (infusion, f"{LAB}|inf-1"), (headache, f"{LAB}|ae-1"),
    ):  # fmt: skip
        assert [upsert(trial, make(), identifier).status_code for _ in "ab"] == [201, 200]
    assert trial.facts() == 2


@pytest.mark.parametrize(
    ("resource", "identifier", "place"),
    [
        (ck(), f"{LAB}|another", "http.identifier"),
        (ck(number=None), f"{LAB}|acc-77", "http.identifier"),
        (ck(), "urn:oid:9.9|acc-77", "http.identifier"),
        (patient(), f"{HOSPITAL}|MRN-2", "http.identifier"),
        (ck(), "", "http.identifier"),
        (ck(), f"{LAB}|", "http.identifier"),
    ],
)
def test_the_condition_names_the_identifier_of_the_body(trial, resource, identifier, place):
    answer = upsert(trial, resource, identifier)
    assert answer.status_code == 422
    assert {each[2] for each in issues(answer)} == {place}
    assert trial.revision() == 0


def test_an_update_without_an_id_or_identifier_says_what_it_needs(trial):
    answer = trial.send("PUT", "/Observation", ck())
    assert answer.status_code == 422
    assert "needs the parameter `identifier`" in texts(answer.json())[0]
    other = trial.send("PUT", "/Observation?code=x", ck())
    assert "identifier" in texts(other.json())[0]


def test_if_match_guards_a_conditional_update(trial):
    stored = upsert(trial, ck(), f"{LAB}|acc-77")
    upsert(trial, ck(1200), f"{LAB}|acc-77")
    assert upsert(trial, ck(1300), f"{LAB}|acc-77", If_Match=stored.headers["etag"]).status_code == 412


def test_an_id_in_the_body_of_a_conditional_update_is_a_client_id(trial):
    first = upsert(trial, ck(id="ehr-1"), f"{LAB}|acc-77")
    assert first.status_code == 201
    assert trial.client.get(f"{trial.base}/Observation/ehr-1").json()["valueQuantity"]["value"] == 1101
    assert upsert(trial, ck(1200, id="ehr-1"), f"{LAB}|acc-77").status_code == 200
    trial.put(ldh(id="ehr-2", number="acc-78"))
    other = upsert(trial, ck(5, id="ehr-2"), f"{LAB}|acc-77")
    assert other.status_code == 422
    assert trial.labs() == [("CK", 1200), ("LDH", 300)]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_conditional_updates_in_bundles(trial, kind):
    sent = bundle(
        entry(patient(), "PUT", f"Patient?identifier={HOSPITAL}|MRN-1"),
        entry(ck(), "PUT", f"Observation?identifier={LAB}|acc-77"),
        entry(ldh(number="acc-77"), "PUT", f"Observation?identifier={LAB}|acc-77"),
        type=kind,
    )
    assert [each["response"]["status"] for each in trial.post(sent).json()["entry"]] == ["201 Created"] * 3
    assert [each["response"]["status"] for each in trial.post(sent).json()["entry"]] == ["200 OK"] * 3
    sent["entry"][1]["resource"]["valueQuantity"]["value"] = 7
    trial.post(sent)
    assert trial.labs() == [("CK", 7), ("LDH", 300)]


def test_two_conditional_updates_of_one_resource_in_a_transaction_are_refused(trial):
    later = ck(900, effectiveDateTime="2005-03-23T09:48:00+09:00")
    url = f"Observation?identifier={LAB}|acc-77"
    answer = trial.post(bundle(entry(ck(), "PUT", url), entry(later, "PUT", url)))
    assert answer.status_code == 422
    assert [each[2] for each in issues(answer)] == ["Bundle.entry[1].request.url"]
    assert trial.revision() == 0


def test_a_panel_is_updated_as_a_whole_by_its_identifier(trial):
    def panel(value, **more):
        parts = [{"code": each["code"], "valueQuantity": each["valueQuantity"]} for each in (ck(value), ldh(value))]
        return ck(**{"code": {"text": "panel"}, "component": parts, "valueQuantity": None} | more)

    assert upsert(trial, panel(5), f"{LAB}|acc-77").status_code == 201
    moved = panel(6, effectiveDateTime="2005-03-17T09:48:00+09:00")
    assert upsert(trial, moved, f"{LAB}|acc-77").status_code == 200
    assert trial.labs() == [("CK", 6), ("LDH", 6)]


def test_clients_at_one_time_make_one_resource(trial_anywhere):
    trial = trial_anywhere
    for _ in range(3):
        upsert(trial, ck(), f"{LAB}|acc-77")
    assert trial.facts() == 1


def test_an_identifier_in_the_address_of_a_post_is_if_none_exist(trial):
    path = f"/Observation?identifier={LAB}|acc-77"
    assert trial.send("POST", path, ck()).status_code == 201
    again = trial.send("POST", path, ck(5))
    assert (again.status_code, again.json()["valueQuantity"]["value"]) == (200, 1101)
    twice = trial.send("POST", path, ck(), If_None_Exist=f"identifier={LAB}|acc-77")
    assert [each[2] for each in issues(twice)] == ["http.identifier"]


# Searches


def fill(trial):
    """Five results on four days, of two patients, and a score."""
    for number, (who, at) in enumerate(
        [
            ("MRN-1", "2005-03-16T09:00:00+09:00"),
            ("MRN-2", "2005-03-15T23:00:00-05:00"),  # 2005-03-16T04:00Z, after the one above
            ("MRN-1", "2005-03-18"),
            ("MRN-2", "2005-03-14T09:00:00+09:00"),
            ("MRN-1", "2005-03-16T09:00:00+09:00"),
        ]
    ):
        trial.post(ck(100 + number % 4, f"n-{number}", subject=about(who), effectiveDateTime=at))
    score = {"system": "urn:myoresponse:codes", "code": "MMT"}
    trial.post(
        ck(number="m-1", code={"coding": [score]}, effectiveDateTime="2005-03-17", referenceRange=None,
           valueQuantity={"value": 62, "unit": "{score}"})
    )  # fmt: skip
    return trial


IN_TIME = [103, 100, 100, 101, 62, 102]


def values(page):
    return [each["valueQuantity"]["value"] for each in resources(page)]


def walked(trial, query):
    """The values of all pages of a search, and its first page."""
    first = page = found(trial, query)
    seen = values(page)
    while following := next((each["url"] for each in page["link"] if each["relation"] == "next"), None):
        page = trial.client.get(following).json()
        seen += values(page)
        assert len(seen) < 50, "the walk goes in circles"
    return seen, first


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_a_search_is_sorted_by_the_time_in_pages(trial_anywhere, count):
    trial = fill(trial_anywhere)
    up, first = walked(trial, f"Observation?_sort=date&_count={count}")
    assert up == IN_TIME
    assert "_sort=date" in first["link"][0]["url"]
    down, _ = walked(trial, f"Observation?_sort=-date&_count={count}")
    assert down == [102, 62, 101, 100, 100, 103]
    assert walked(trial, f"Observation?_sort=-_lastUpdated&_count={count}")[0] == [62, 100, 103, 102, 101, 100]
    some, _ = walked(trial, f"Observation?_sort=-date&patient.identifier={HOSPITAL}|MRN-1&code=CK&_count={count}")
    assert some == [102, 100, 100]


def test_the_sorted_search_of_others(trial):
    trial.post(infusion("i-1"))
    trial.post(infusion("i-2", effectiveDateTime="2005-04-09"))
    trial.post(headache("e-1"))
    trial.post(headache("e-2", date="2005"))
    trial.post(headache("e-3", date="2005-04-01"))
    page = found(trial, "MedicationAdministration?_sort=effective-time")
    assert [each["effectiveDateTime"] for each in resources(page)] == ["2005-04-09", "2005-04-11"]
    for number, day in (("m-1", "2005-04-09"), ("m-2", "2005-04-02")):
        trial.post(taken(number, effectivePeriod={"start": day}))
    page = found(trial, "MedicationStatement?_sort=-effective")
    assert [each["effectivePeriod"]["start"] for each in resources(page)] == ["2005-04-09", "2005-04-02"]
    for order, dates in (
        ("date", ["2005-04-01", "2005-04-12", "2005"]),
        ("-date", ["2005-04-12", "2005-04-01", "2005"]),
    ):
        page = found(trial, f"AdverseEvent?_sort={order}&_count=3")
        assert [each["date"] for each in resources(page)] == dates, "an unknown onset is last"
    trial.post(patient("MRN-0"))
    latest = found(trial, "Patient?_sort=-_lastUpdated&_count=1")
    following = trial.client.get(latest["link"][1]["url"]).json()
    assert [each["id"] for each in resources(latest) + resources(following)] == ["MRN-0", "MRN-1"]


def test_every_form_of_a_search_is_repeated_by_its_link_self(trial):
    fill(trial)
    for query in (
        "Observation?_sort=-date", "Observation?category=laboratory&_count=2", "Observation?_summary=count",
        "Observation?_elements=status,valueQuantity&_count=1", "Observation?_count=9999", "Observation?_count=0",
        f"Observation?identifier={LAB}|n-1&_elements=status", "Observation?_count=2&_totalMethod=count",
        "Observation?patient=MRN-1&_sort=date&_total=accurate", "Patient?_sort=-_lastUpdated&_elements=gender",
    ):  # fmt: skip
        page = found(trial, query)
        itself = trial.client.get(page["link"][0]["url"]).json()
        assert {name: value for name, value in itself.items() if name != "link"} == {
            name: value for name, value in page.items() if name != "link"
        }, query
        assert itself["link"][0] == page["link"][0], query


def test_a_page_is_not_larger_than_the_greatest_and_says_so(trial):
    trial.post(ck())
    page = found(trial, "Observation?_count=100000")
    assert len(page["entry"]) == 1
    assert page["link"][0]["url"].endswith("Observation?_count=500")


@pytest.mark.parametrize(
    ("category", "count"),
    [
        ("laboratory", 5), ("exam", 1), ("exam,laboratory", 6), ("vital-signs", 0),
        ("http://terminology.hl7.org/CodeSystem/observation-category|laboratory", 5),
        ("http://terminology.hl7.org/CodeSystem/observation-category|", 6), ("urn:other|laboratory", 0),
        ("|laboratory", 0),
    ],
)  # fmt: skip
def test_results_are_searched_by_the_category_that_they_show(trial, category, count):
    assert len(found(fill(trial), f"Observation?category={category}&_total=accurate").get("entry", [])) == count


def test_a_count_of_a_search_has_no_entries(trial):
    fill(trial)
    for query in ("_summary=count", "_summary=count&_total=none", "_count=0&_totalMethod=count"):
        page = found(trial, f"Observation?{query}")
        assert (page["total"], "entry" in page) == (6, False)


def test_a_part_of_a_resource_is_marked_and_cannot_be_sent_back(trial):
    made = trial.post(ck()).json()
    page = found(trial, "Observation?_elements=valueQuantity")
    [part] = resources(page)
    assert part.keys() == {"resourceType", "id", "meta", "identifier", "status", "code", "subject", "valueQuantity"}
    mark = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    assert part["meta"]["tag"] == [mark]
    alone = trial.client.get(f"{trial.base}/Observation/{made['id']}?_elements=valueQuantity").json()
    assert alone == part
    for answer in (trial.put(part), trial.post(part), trial.post(bundle(entry(part)))):
        assert answer.status_code == 422
        assert any(place.endswith(".meta.tag") for _, _, place in issues(answer))
    foreign = {"meta": {"tag": [mark]}}
    assert trial.put(ck(id="x", number="other", **foreign)).status_code == 422
    assert trial.post(ck(number="other", **foreign)).status_code == 201, "what another server left out is not known"


# Batches


def test_a_batch_reads_searches_and_shows_histories_after_it_has_stored(trial_anywhere):
    trial = trial_anywhere
    stored = trial.post(ck()).json()
    here = f"Observation/{stored['id']}"
    answer = trial.post(
        bundle(
            asks("GET", here),
            entry(ck(7, id=stored["id"]), "PUT", here),
            asks("GET", f"{here}/_history"),
            asks("GET", f"{here}/_history/{stored['meta']['versionId']}"),
            asks("GET", f"/Observation?identifier={LAB}|acc-77&_elements=status"),
            asks("GET", "Observation?_include=x"),
            asks("GET", "Encounter/1"),
            asks("GET", "Observation/nothing"),
            {"request": {"method": "GET", "url": here, "ifNoneMatch": 'W/"2"'}},
            type="batch",
        )
    )
    assert answer.status_code == 200
    entries = answer.json()["entry"]
    assert [each["response"]["status"][:3] for each in entries] == [
        "200",
        "200",
        "200",
        "200",
        "200",
        "422",
        "404",
        "404",
        "304",
    ]
    assert entries[0]["resource"]["valueQuantity"]["value"] == 7
    assert entries[0]["response"]["etag"] == 'W/"2"'
    assert [each["request"]["method"] for each in entries[2]["resource"]["entry"]] == ["PUT", "POST"]
    assert entries[3]["resource"]["valueQuantity"]["value"] == 1101
    assert entries[4]["resource"]["total"] == 1
    assert issues_in(entries[5]["response"]["outcome"])[0][2] == "http._include"
    assert "resource" not in entries[8]


def test_a_batch_that_only_reads_makes_no_revision_and_is_never_nothing_kept(trial):
    trial.post(ck())
    before = trial.revision()
    answer = trial.post(bundle(asks("GET", "Patient?_count=5"), asks("GET", "Patient/x"), type="batch"))
    assert [each["response"]["status"] for each in answer.json()["entry"]] == ["200 OK", "404 Not Found"]
    with_fault = trial.post(bundle(asks("GET", "Patient"), entry(ck(-1)), type="batch"))
    assert with_fault.status_code == 200
    assert trial.revision() == before


def test_a_transaction_that_reads_is_refused_and_says_where_reads_are_answered(trial):
    answer = trial.post(bundle(entry(ck()), asks("GET", "Patient/x")))
    assert answer.status_code == 422
    assert texts(answer.json()) == ["GET is answered in a batch only."]


def test_a_batch_has_a_greatest_number_of_reads(trial):
    answer = trial.post(bundle(*[asks("GET", "Patient")] * 101, type="batch"))
    assert answer.status_code == 413


# Validation


def validated(trial, resource, path=None, **more):
    answer = trial.send("POST", f"/{path or resource['resourceType']}/$validate", resource, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_validation_says_what_would_become_of_a_resource_and_stores_nothing(trial_anywhere):
    trial = trial_anywhere
    assert texts(validated(trial, ck()))[0] == "It would be stored as a new resource."
    stored = trial.post(ck()).json()
    before = trial.revision()
    assert "change nothing" in texts(validated(trial, ck()))[0]
    assert texts(validated(trial, ck(7)))[0] == "It would be stored as a new version."
    faulty = validated(trial, ck(-1))
    assert issues_in(faulty) == [("error", "value", "Observation.valueQuantity.value")]
    here = f"Observation/{stored['id']}"
    assert texts(validated(trial, ck(8, id=stored["id"]), here))[0] == "It would be stored as a new version."
    gone = validated(trial, {"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": ck(id=stored["id"])}, {"name": "mode", "valueCode": "delete"},
    ]}, "Observation")  # fmt: skip
    assert texts(gone)[0] == "It would be withdrawn."
    skipped = validated(trial, ck(code={"coding": [{"system": LOINC, "code": "2951-2"}]}))
    assert texts(skipped)[0] == "It would not be kept."
    assert trial.revision() == before
    assert trial.labs() == [("CK", 1101)]


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        ({"name": "profile", "valueUri": "http://x"}, "Parameters.parameter[1].name"),
        ({"name": "mode", "valueCode": "profile"}, "Parameters.parameter.valueCode"),
        ({"name": "resource", "resource": ck()}, "Parameters.parameter"),
    ],
)
def test_what_a_validation_does_not_take_is_named(trial, parameter, place):
    body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": ck()}, parameter]}
    answer = trial.send("POST", "/Observation/$validate", body)
    assert answer.status_code == 422
    assert [each[2] for each in issues(answer)] == [place]


def test_a_validation_needs_json_and_an_id_for_an_update(trial):
    assert trial.client.post(f"{trial.base}/Observation/$validate", content=b"{", headers=FHIR).status_code == 400
    answer = trial.send("POST", "/Observation/$validate?mode=update", ck())
    assert issues(answer)[0][2] == "http.mode"


@pytest.mark.parametrize("mode", ["update", "delete"])
@pytest.mark.parametrize("content", [[], 5, "text", None])
def test_a_validation_of_what_is_no_object_is_answered(trial, content, mode):
    assert trial.send("POST", f"/Observation/$validate?mode={mode}", content).status_code < 500
    listed = [{"name": "resource", "resource": content}, {"name": "mode", "valueCode": mode}]
    answer = trial.send("POST", "/Observation/$validate", {"resourceType": "Parameters", "parameter": listed})
    assert (answer.status_code, issues(answer)[0][2]) == (200, "http.mode")


# Histories


def history(trial, name, query=""):
    answer = trial.client.get(f"{trial.base}/Observation/{name}/_history{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(page):
    return [(each["request"]["method"], each["response"]["status"][:3]) for each in page.get("entry", [])]


def test_a_history_tells_each_version_as_it_was_made(trial_anywhere):
    trial = trial_anywhere
    stored = trial.post(ck()).json()
    trial.put(ck(7, id=stored["id"]))
    trial.post(ck(8))
    trial.delete(f"Observation/{stored['id']}")
    trial.post(ck(9))
    page = history(trial, stored["id"])
    assert told(page) == [("POST", "200"), ("DELETE", "204"), ("POST", "200"), ("PUT", "200"), ("POST", "201")]
    assert ["resource" in each for each in page["entry"]] == [True, False, True, True, True]
    assert [each["request"]["url"] for each in page["entry"]][-2:] == [f"Observation/{stored['id']}", "Observation"]
    trial.put(ck(id="ehr-9", number="acc-9"))
    assert told(history(trial, "ehr-9")) == [("PUT", "201")]


def test_the_history_of_what_a_bundle_stored_and_deleted(trial):
    stored = trial.post(bundle(entry(ck()))).json()["entry"][0]["response"]["location"].split("/")[1]
    trial.post(bundle(asks("DELETE", f"Observation/{stored}")))
    trial.post(bundle(entry(ck(8))))
    assert told(history(trial, stored)) == [("PUT", "200"), ("DELETE", "204"), ("POST", "201")]
    trial.post(bundle(entry(ck(number="b-2", id="ehr-2"), "PUT", "Observation/ehr-2")))
    assert told(history(trial, "ehr-2")) == [("PUT", "201")]


def test_a_history_is_read_in_pages_and_from_a_time_on(trial_anywhere):
    trial = trial_anywhere
    stored = trial.post(ck()).json()
    for value in (2, 3, 4):
        trial.post(ck(value))
    whole = history(trial, stored["id"])
    assert (whole["total"], len(whole["entry"])) == (4, 4)
    page, seen = history(trial, stored["id"], "?_count=3"), []
    assert page["link"][0]["url"].endswith("?_count=3")
    seen += page["entry"]
    trial.post(ck(5))
    following = page["link"][1]["url"]
    page = trial.client.get(following).json()
    assert page["total"] == 4
    assert "next" not in [each["relation"] for each in page["link"]]
    assert trial.client.get(page["link"][0]["url"]).json() == page
    assert seen + page["entry"] == whole["entry"]
    since = whole["entry"][1]["resource"]["meta"]["lastUpdated"].replace("+", "%2B")
    assert values(history(trial, stored["id"], f"?_since={since}")) == [5, 4, 3]
    assert history(trial, stored["id"], "?_since=2999-01-01")["total"] == 0
    assert len(history(trial, stored["id"], "?_count=100000")["entry"]) == 5
    for query, place in (("_since=ge2005", "http._since"), ("_since=x", "http._since"), ("_count=0", "http._count"),
                         ("_at=2005", "http._at"), ("_offset=2", "http._offset")):  # fmt: skip
        refused = trial.client.get(f"{trial.base}/Observation/{stored['id']}/_history?{query}")
        assert (refused.status_code, issues(refused)[0][2]) == (422, place)
    assert trial.client.get(f"{following}&_since=2005").status_code == 422
    assert trial.client.get(following[:-2]).status_code == 400


# Reports, answers to searches, addresses


def report(*results, **more):
    """A report that contains its results."""
    contained = [{name: value for name, value in each.items() if name != "subject"} for each in results]
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "panel"},
        "subject": about(),
        "result": [{"reference": f"#o{i}"} for i in range(len(results))],
        "contained": [{**each, "id": f"o{i}"} for i, each in enumerate(contained)],
    } | more


def test_a_report_alone_is_answered_like_one_in_a_bundle(trial):
    answer = trial.post(report(ck(), ldh()))
    assert answer.status_code == 201
    assert answer.headers["location"].startswith("/fhir/trial/Observation/")
    assert trial.labs() == [("CK", 1101), ("LDH", 300)]
    again = trial.post(report(ck(), ldh()))
    assert (again.status_code, again.json()["resourceType"]) == (200, "OperationOutcome")
    in_bundle = trial.post(bundle(entry(report(ck(), ldh())), type="batch"), Prefer="return=OperationOutcome")
    assert in_bundle.json()["entry"][0]["response"]["outcome"]["extension"] == again.json()["extension"]
    empty = trial.post(report())
    assert (empty.status_code, texts(empty.json())) == (200, ["Not kept: resources of this kind are not."])
    faulty = trial.post(report(ck(-1)))
    assert (faulty.status_code, issues(faulty)[0][2]) == (422, "DiagnosticReport.contained[0].valueQuantity.value")
    assert trial.post(report(ck()), Prefer="return=minimal").content == b""


def test_the_answer_of_another_server_to_a_search_is_stored_as_a_whole(trial):
    who = {"reference": "Patient/p-1"}
    page = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 3,
        "link": [{"relation": "self", "url": f"{OTHERS}/Observation"}],
        "entry": [
            {"fullUrl": f"{OTHERS}/Observation/1", "resource": ck(id="1", subject=who), "search": {"mode": "match"}},
            {"fullUrl": f"{OTHERS}/Patient/p-1", "resource": patient(id="p-1"), "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}},
        ],
    }
    answer = trial.post(page)
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "201", "200"]
    before = trial.revision()
    assert trial.post(page).status_code == 200
    assert trial.revision() == before
    page["entry"][0]["resource"]["valueQuantity"]["value"] = -1
    assert trial.post(page).status_code == 422


def test_our_own_answer_to_a_search_changes_nothing_when_it_is_sent_back(trial):
    trial.post(ck())
    before = trial.revision()
    assert trial.post(found(trial, "Observation")).status_code == 200
    assert trial.post(found(trial, "Patient")).status_code == 200
    assert trial.revision() == before


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/fhir/trial/", "/fhir/trial/", "/", ""])
def test_our_own_address_is_a_reference(trial, address):
    trial.post(patient())
    answer = trial.post(ck(subject={"reference": f"{address}Patient/MRN-1"}))
    assert answer.status_code == 201
    assert len(trial.timelines()) == 1
    sent = trial.post(bundle(entry(ldh(subject={"reference": f"{address}Patient/MRN-1"}), url=f"{address}Observation")))
    assert sent.status_code == 200
    assert len(trial.timelines()) == 1


@pytest.mark.parametrize(
    "address", [f"{OTHERS}/", "http://127.0.0.1:8000/fhir/other/", "http://127.0.0.1:1/fhir/trial/"]
)
def test_a_foreign_address_is_not_ours_and_says_so(trial, address):
    trial.post(patient())
    answer = trial.post(ck(subject={"reference": f"{address}Patient/MRN-1"}))
    assert answer.status_code == 422
    [text] = texts(answer.json())
    assert text.startswith("The reference is an address of another server or of another study. Nothing is fetched.")
    sent = trial.post(bundle(entry(ck(), url=f"{address}Observation")))
    assert texts(sent.json())[0].startswith("This is an address of another server, or of another study.")
    known = trial.post(ck(subject={"reference": f"{address}Patient/MRN-1", **about()}))
    assert known.status_code == 201, "the identifier beside it names the patient"


def test_a_patient_who_died_has_ended_as_the_native_document_says(trial):
    trial.post(patient(deceasedDateTime="2006-09-01T10:00:00+09:00"))
    [timeline] = trial.timelines()
    assert timeline["ended"] == {"date": "2006-09-01", "reason": "died"}
    [shown] = resources(found(trial, "Patient"))
    assert shown["deceasedDateTime"] == "2006-09-01"
    before = trial.revision()
    trial.put(shown)
    assert trial.revision() == before


@pytest.mark.parametrize("related", [True, False, "unrelated", "unknown", "possible"])
@pytest.mark.parametrize("severity", ["life_threatening", "fatal", "mild"])
def test_an_event_that_is_sent_back_keeps_its_severity_and_its_cause(trial, related, severity):
    event = {"onset": "2005-04-12", "term": "headache", "severity": severity, "related": related}
    native = {"patient": {"id": "P01"}, "adverse_events": [event]}
    assert trial.client.post(f"{trial.home}/timelines", json=[native]).status_code == 200
    before = trial.revision()
    [shown] = resources(found(trial, "AdverseEvent"))
    assert trial.put(shown).status_code == 200
    assert trial.post({name: value for name, value in shown.items() if name not in {"id", "meta"}}).status_code == 200
    assert trial.revision() == before


def test_a_score_that_is_sent_back_keeps_its_scale(trial):
    score = {"code": "MMT", "time": "2005-04-12", "score": 62, "scale_max": 100}
    native = {"patient": {"id": "P01"}, "assessments": [score]}
    assert trial.client.post(f"{trial.home}/timelines", json=[native]).status_code == 200
    before = trial.revision()
    [shown] = resources(found(trial, "Observation"))
    assert trial.put(shown).status_code == 200
    assert trial.revision() == before
    again = {name: value for name, value in shown.items() if name not in {"id", "meta", "identifier"}}
    trial.post(again | {"subject": {"reference": "Patient/P02"}})
    assert [each["assessments"][0]["scale_max"] for each in trial.timelines()] == [100, 100]


# What is not supported


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("PATCH", "Observation/1", 405, "PATCH is not supported"),
        ("PATCH", "Observation?identifier=x", 405, "PATCH is not supported"),
        ("DELETE", "Observation?identifier=x", 405, "A conditional delete is not supported"),
        ("GET", "Observation/_history", 404, "The history of a type"),
        ("GET", "_history", 404, "The history of a type"),
        ("GET", "", 404, "all types at once"),
        ("POST", "_search", 404, "all types at once"),
        ("GET", "Patient/MRN-1/$everything", 404, "Accepted: $validate."),
        ("GET", "Observation/$lastn", 404, "Accepted: $validate."),
        ("POST", "$reindex", 404, "Accepted: $validate."),
        ("GET", "Patient/MRN-1/Observation", 404, "Observation?patient=[id]"),
        ("GET", "Encounter", 404, "Accepted: AdverseEvent, DiagnosticReport"),
        ("POST", "Encounter", 404, "Accepted: AdverseEvent, DiagnosticReport"),
        ("GET", "Nonsense/1", 404, "no type of resources"),
        ("GET", "DiagnosticReport/1", 405, ""),
    ],
)
def test_an_interaction_that_is_not_supported_is_named_with_what_is(trial, method, path, status, words):
    answer = trial.client.request(method, f"{trial.base}/{path}", headers=FHIR)
    assert answer.status_code == status, answer.text
    assert words in " ".join(texts(answer.json()))
    if status == 405:
        assert "OPTIONS" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("POST", "Observation", "If-Match"), ("POST", "Observation", "If-None-Match"),
        ("PUT", "Observation/x", "If-None-Exist"), ("POST", "", "If-None-Exist"), ("POST", "", "If-Match"),
        ("DELETE", "Observation/x", "If-None-Match"), ("POST", "Observation/$validate", "If-Match"),
    ],
)  # fmt: skip
def test_a_condition_that_a_request_does_not_have_is_refused_by_its_name(trial, method, path, header):
    body = bundle() if not path else ck(id="x")
    answer = trial.client.request(method, f"{trial.base}/{path}".rstrip("/"), json=body, headers=FHIR | {header: '"1"'})
    assert answer.status_code == 422, answer.text
    assert f"http.{header}" in [each[2] for each in issues(answer)]


def test_a_name_that_is_none_of_the_standard_is_not_repeated(trial):
    answer = trial.client.get(f"{trial.base}/Observation?Jane-Doe=1&_include=x")
    assert answer.status_code == 422
    assert "Jane" not in answer.text
    assert [each[2] for each in issues(answer)] == ["http._include", "http"]
