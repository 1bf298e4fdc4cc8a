"""Each client has its own rate."""

import pytest

from app.access.callers import Scope
from app.access.rates import Rates
from app.http.authentication import network_of
from app.settings import Settings
from app.store.engine import Database

pytestmark = pytest.mark.usefixtures("in_the_middle_of_an_hour")


def test_a_client_is_refused_after_its_rate_and_others_are_not():
    rates = Rates("5/hour")
    states = [rates.count("a") for _ in range(7)]
    assert [state.allowed for state in states] == [True] * 5 + [False] * 2
    assert [state.left for state in states] == [4, 3, 2, 1, 0, 0, 0]
    assert rates.count("b").allowed
    assert 1 <= int(states[-1].headers["Retry-After"]) <= 3_600
    assert "Retry-After" not in states[0].headers


def test_the_headers_say_what_is_left_and_a_refusal_when_to_come_again(start, url):
    service = start(url, rate="3/hour")
    first, second = service.client(), service.client()
    answers = [first.get("/v1/studies") for _ in range(5)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"] == '"client";q=3;w=3600'
    assert answers[0].headers["ratelimit"].startswith('"client";r=2;t=')
    assert answers[3].json()["type"] == "/problems/too-many-requests"
    assert answers[3].headers["ratelimit"].startswith('"client";r=0;t=')
    assert int(answers[3].headers["retry-after"]) > 0
    assert first.get("/fhir/x/metadata").json()["issue"][0]["code"] == "throttled"
    assert second.get("/v1/studies").status_code == 200
    assert second.get("/nothing").headers["ratelimit"].startswith('"client";r=1;t=')


def test_strangers_and_wrong_keys_are_counted_by_their_address_and_probes_never(start, url):
    service = start(url, rate="4/hour")
    known = service.client([Scope.READ])
    wrong = service.with_key("myo_00000000_" + "a" * 43)
    statuses = [client.get("/v1/studies").status_code for client in (service.stranger, wrong) * 3]
    assert statuses == [401] * 4 + [429] * 2
    assert service.stranger.get("/problems").status_code == 429
    assert {service.stranger.get(path).status_code for path in ("/livez", "/readyz") * 5} == {200}
    assert known.get("/v1/studies").status_code == 200, "a known client behind the same address"


def test_a_flood_of_guessed_keys_is_refused_without_a_read_and_others_go_on(start, url, monkeypatch):
    monkeypatch.setattr("app.http.state.ErasureWatch.SECONDS", 3_600.0)
    service = start(url, rate="5/hour")
    known, real = service.client([Scope.READ]), service.key([Scope.READ])
    guesses = [f"myo_{number:08x}_{'a' * 43}" for number in range(60)]
    alike = (f"{real[:-2]}{number:02}" for number in range(21))
    guesses += [text for text in alike if text != real][:20]
    clients = [service.with_key(text) for text in guesses]
    assert [client.get("/v1/studies").status_code for client in clients[:5]] == [401] * 5
    reads, reading = [], Database.reading
    monkeypatch.setattr(Database, "reading", lambda self: (reads.append(self), reading(self))[1])
    monkeypatch.setattr("app.access.keys.LISTED_SECONDS", 3_600.0)
    assert {client.get(path).status_code for client in clients for path in ("/v1/studies", "/livez")} == {429}
    assert len(reads) == 1
    assert known.get("/v1/studies").status_code == 200
    assert service.with_key(real).get("/v1/studies").status_code == 200


def test_local_use_without_a_key_has_no_limit(start, url):
    local = start(url, require_keys=False, rate="1/hour").stranger
    answers = [local.get("/v1/studies") for _ in range(5)]
    assert {each.status_code for each in answers} == {200}
    assert "ratelimit" not in answers[0].headers


def test_without_a_rate_nobody_is_counted(start, url):
    client = start(url, rate="").client()
    assert "ratelimit" not in client.get("/v1/studies").headers


def test_an_address_of_ipv4_that_is_written_as_one_of_ipv6_is_one_client():
    assert network_of({"client": ("::ffff:192.0.2.7", 1)}) == "192.0.2.7"


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (("10.0.0.7", 1), "10.0.0.7"),
        (("2001:db8:1:2:3::4", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::9", 9), "2001:db8:1:2::/64"),
        (None, "-"),
        (("unix", 0), "-"),
    ],
)
def test_one_client_has_a_whole_network_of_ipv6(client, network):
    assert network_of({"client": client}) == network


@pytest.mark.parametrize("rate", ["600", "0/minute", "many/minute", "1/fortnight", "5/minute;1/hour", "-1/hour"])
def test_what_is_no_rate_is_no_setting(rate):
    with pytest.raises(ValueError, match="600/minute"):
        Settings(rate=rate)
