"""The answers of the facade can be sent back to it, and then nothing changes."""

import pytest

from tests.api.fhir_bodies import SECRET, Facade, ck, headache, infusion, patient


@pytest.fixture(params=["medical_record", "pseudonyms"])
def trial(request, serve, sqlite_url) -> Facade:
    """A study of either kind."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET), identifiers=request.param)


@pytest.mark.parametrize("verb", ["post", "put"])
@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("make", [ck, infusion, headache])
def test_a_resource_that_is_read_and_sent_back_says_nothing_new(trial, make, numbered, verb):
    trial.post(patient())
    sent = make()
    if not numbered:
        sent.pop("identifier", None)
    stored = trial.post(sent).json()
    kind, revision = stored["resourceType"], trial.revision()
    read = trial.client.get(f"/fhir/trial/{kind}/{stored['id']}").json()
    answer = trial.post(read) if verb == "post" else trial.put(read)
    assert answer.status_code == 200, answer.text
    assert trial.revision() == revision
    assert trial.client.get(f"/fhir/trial/{kind}?_total=accurate").json()["total"] == 1


def test_a_number_that_only_looks_like_one_that_we_answered_is_refused_where_numbers_are_replaced(serve, sqlite_url):
    trial = Facade(serve(sqlite_url, pseudonym_secret=SECRET))
    trial.post(patient())
    read = trial.post(ck()).json()
    read["identifier"][0]["value"] = "MRN-00421"
    assert trial.post(read).status_code == 422
