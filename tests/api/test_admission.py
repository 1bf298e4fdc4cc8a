"""Refusals of what is too much: of one body, and of many at once."""

import threading

from tests.api.examples import JSON, NDJSON, events, lab, make_study, timeline


def test_reading_that_takes_too_long_is_refused_and_nothing_is_stored(serve, sqlite_url):
    client = serve(sqlite_url, reading_seconds=1e-9)
    home = make_study(client)
    refused = client.post(f"{home}/timelines", json=[{}, {}, timeline("P2")])
    assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-large")
    assert "processor time" in refused.json()["detail"]
    assert client.get(home).json()["patients"] == 0


def test_a_refused_body_is_told_to_come_again_and_probes_never_wait(serve, sqlite_url, monkeypatch):
    client = serve(sqlite_url, max_bodies=1)
    home = make_study(client)
    begun, go = threading.Event(), threading.Event()
    answers = []

    def waiting(*_, **__) -> list:
        begun.set()
        go.wait(30)
        return []

    monkeypatch.setattr("app.api.timelines.store_timelines", waiting)
    first = threading.Thread(target=lambda: answers.append(client.post(f"{home}/timelines", json=[timeline("P1")])))
    first.start()
    assert begun.wait(30)
    refused = client.post(f"{home}/patients/P2/events", json=events("P2", lab(0, 100)))
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/busy")
    assert refused.headers["retry-after"] == "1"
    for path in ("/livez", "/readyz", home):
        assert client.get(path).status_code == 200
    streamed = client.post(f"{home}/timelines", content=b"", headers=NDJSON)
    assert streamed.status_code == 200
    go.set()
    first.join()
    assert answers[0].status_code == 200
    assert client.post(f"{home}/patients/P2/events", json=events("P2", lab(0, 100))).status_code == 201


def test_a_fault_of_many_members_names_the_limit(client):
    home = make_study(client)
    body = b'{"patient": {"id": "P1"}, %s}' % b", ".join(b'"k%d": 1' % number for number in range(1_100))
    refused = client.post(f"{home}/patients/P1/events", content=body, headers=JSON)
    assert refused.status_code == 413
    assert refused.json()["errors"][0]["code"] == "too_many"
    assert "1000 members" in refused.json()["errors"][0]["detail"]
