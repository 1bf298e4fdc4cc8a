"""Several draws under one number in FHIR: each is a resource of its own. And resources that are created again."""

import pytest

from tests.api.fhir_bodies import SECRET, Facade, bundle, ck, entry, headache, infusion, ldh

MORNING, NOON, EVENING = "2005-03-16T09:00:00+09:00", "2005-03-16T12:00:00+09:00", "2005-03-16T18:00:00+09:00"
PANEL = {"coding": [{"system": "http://loinc.org", "code": "24325-3"}]}


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


def at(time: str, value: float = 1101, **more) -> dict:
    return ck(value, effectiveDateTime=time, **more)


def get(trial: Facade, path: str):
    return trial.client.get(f"{trial.base}/{path}")


def times(trial: Facade) -> list[tuple[str, float]]:
    return sorted((lab["time"], lab["value"]) for timeline in trial.timelines() for lab in timeline["labs"])


def test_draws_of_one_number_are_resources_of_their_own(trial):
    stored = [trial.post(at(time, value)).json() for value, time in enumerate((MORNING, NOON, EVENING), 1)]
    assert len({each["id"] for each in stored}) == 3
    for value, each in enumerate(stored, 1):
        answer = get(trial, f"Observation/{each['id']}").json()
        assert (answer["valueQuantity"]["value"], answer["identifier"]) == (value, each["identifier"])
        assert get(trial, f"Observation/{each['id']}/_history").json()["total"] == 1
    number = stored[0]["identifier"][0]["value"]
    assert get(trial, f"Observation?identifier={number}").json()["total"] == 3
    assert trial.labs() == [("CK", 1), ("CK", 2), ("CK", 3)]


def test_the_same_draws_in_one_transaction_and_again_are_the_same_resources(trial):
    draws = [at(time, value) for value, time in enumerate((MORNING, NOON, EVENING), 1)]
    first = trial.post(bundle(*map(entry, draws))).json()["entry"]
    again = trial.post(bundle(*map(entry, reversed(draws)))).json()["entry"]
    places = [each["response"]["location"].split("/")[1] for each in first]
    assert len(set(places)) == 3
    assert [each["response"]["location"].split("/")[1] for each in again] == places[::-1]
    assert [each["response"]["status"] for each in again] == ["200 OK"] * 3
    assert trial.revision() == 1


def test_a_conditional_create_finds_the_draw_of_its_time(trial):
    condition = {"If_None_Exist": "identifier=urn:oid:1.2.3.4|acc-77"}
    first = trial.post(at(MORNING, 1), **condition)
    second = trial.post(at(NOON, 2), **condition)
    assert (first.status_code, second.status_code) == (201, 201)
    again = trial.post(at(NOON, 99), **condition)
    assert (again.status_code, again.json()["id"]) == (200, second.json()["id"])
    assert trial.labs() == [("CK", 1), ("CK", 2)]


def test_an_update_of_a_draw_moves_its_time_and_the_others_stay(trial):
    first, second = (trial.post(at(time, value)).json() for value, time in enumerate((MORNING, NOON), 1))
    for stored in (first, second):
        moved = trial.put(at("2005-03-20T09:00:00+09:00", 7, id=stored["id"]))
        assert (moved.status_code, moved.json()["id"]) == (200, stored["id"])
        assert get(trial, f"Observation/{stored['id']}").json()["valueQuantity"]["value"] == 7
        back = trial.put(at(MORNING if stored is first else NOON, 8, id=stored["id"]))
        assert back.json()["id"] == stored["id"]
    assert times(trial) == [(MORNING, 8), (NOON, 8)]


def test_a_client_id_keeps_its_draw(trial):
    for name, time, value in (("a", MORNING, 1), ("b", NOON, 2), ("a", EVENING, 3), ("b", NOON, 4)):
        assert trial.put(at(time, value, id=name)).status_code in {200, 201}
    assert [get(trial, f"Observation/{name}").json()["valueQuantity"]["value"] for name in "ab"] == [3, 4]
    assert get(trial, "Observation/b/_history").json()["total"] == 2
    assert trial.delete("Observation/b").status_code == 204
    assert times(trial) == [(EVENING, 3)]
    assert get(trial, "Observation/b").json()["status"] == "entered-in-error"
    assert trial.put(at(NOON, 4, id="b")).status_code in {200, 201}
    assert times(trial) == [(NOON, 4), (EVENING, 3)]


def test_panels_with_client_ids_have_draws(trial):
    def panel(name: str, time: str, *values: float) -> dict:
        parts = [
            {"code": each["code"], "valueQuantity": each["valueQuantity"]} for each in (ck(values[0]), ldh(values[1]))
        ]
        return at(time, id=name, code=PANEL, valueQuantity=None, referenceRange=None, component=parts)

    def without_empty(resource: dict) -> dict:
        return {name: value for name, value in resource.items() if value is not None}

    assert trial.put(without_empty(panel("one", MORNING, 1, 10))).status_code == 201
    assert trial.put(without_empty(panel("two", NOON, 2, 20))).status_code == 201
    assert trial.labs() == [("CK", 1), ("CK", 2), ("LDH", 10), ("LDH", 20)]
    trial.put(without_empty(panel("two", EVENING, 3, 30)))
    assert trial.labs() == [("CK", 1), ("CK", 3), ("LDH", 10), ("LDH", 30)]
    assert trial.delete("Observation/one").status_code == 204
    assert trial.labs() == [("CK", 3), ("LDH", 30)]


@pytest.mark.parametrize("resource", [at(MORNING), at(MORNING, number=None), infusion(), headache()])
@pytest.mark.parametrize("again", ["post", "put", "own"])
def test_what_was_deleted_is_created_again(trial, resource, again):
    kind = resource["resourceType"]
    named = trial.put(resource | {"id": "mine"}) if again == "put" else trial.post(resource)
    stored = named.json()
    for _ in range(2):
        assert trial.delete(f"{kind}/{stored['id']}").status_code == 204
        assert trial.facts() == 0
        answer = trial.post(resource) if again == "post" else trial.put(resource | {"id": stored["id"]})
        assert (answer.status_code, answer.json()["id"]) in {(200, stored["id"]), (201, stored["id"])}
        assert trial.facts() == 1


def test_a_collection_does_not_create_again_what_was_deleted(trial):
    stored = trial.post(at(MORNING)).json()
    trial.delete(f"Observation/{stored['id']}")
    trial.post(bundle({"resource": at(MORNING)}, type="collection"))
    assert trial.facts() == 0


def test_a_conditional_create_creates_again_what_was_deleted(trial):
    stored = trial.post(at(MORNING)).json()
    trial.delete(f"Observation/{stored['id']}")
    answer = trial.post(at(MORNING), If_None_Exist="identifier=urn:oid:1.2.3.4|acc-77")
    assert (answer.status_code, answer.json()["id"]) == (201, stored["id"])


def test_one_draw_is_withdrawn_by_its_message_and_the_other_stands(trial):
    first, _ = (trial.post(at(time, value)).json() for value, time in enumerate((MORNING, NOON), 1))
    withdrawn = trial.post(at(MORNING, 1, status="entered-in-error"))
    assert (withdrawn.status_code, withdrawn.json()["id"]) == (200, first["id"])
    assert times(trial) == [(NOON, 2)]
