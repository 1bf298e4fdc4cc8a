"""An `Idempotency-Key` belongs to the caller that sent it, and gives nobody an answer that the caller may not have."""

from app.access.callers import Scope
from tests.api.examples import events, lab, make_study

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
PATH = "/v1/studies/trial/patients/P01/events"
BODY = events("P01", lab(7, 500))


def test_the_same_key_of_another_caller_is_another_request(service):
    make_study(service.client())
    ours, theirs = service.client(), service.client()
    first = ours.post(PATH, json=BODY, headers=KEY)
    assert (first.status_code, first.json()["status"]) == (201, "created")
    second = theirs.post(PATH, json=BODY, headers=KEY)
    assert (second.status_code, second.json()["status"]) == (200, "unchanged")
    assert "Idempotent-Replayed" not in second.headers
    assert ours.post(PATH, json=BODY, headers=KEY).content == first.content


def test_a_caller_who_may_not_write_gets_no_kept_answer(service):
    make_study(service.client())
    text = service.key()
    assert service.with_key(text).post(PATH, json=BODY, headers=KEY).status_code == 201
    assert service.stranger.post(PATH, json=BODY, headers=KEY).status_code == 401
    assert service.client({Scope.READ}).post(PATH, json=BODY, headers=KEY).status_code == 403
    assert service.client(studies=["other"]).post(PATH, json=BODY, headers=KEY).status_code == 404
    service.keys.revoke(text.split("_")[1] if "_" in text else text[:8], now=1)
    assert service.with_key(text).post(PATH, json=BODY, headers=KEY).status_code == 401
