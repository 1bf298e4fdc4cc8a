"""A study is followed: each revision comes once and in order, and no connection outlives the right to it."""

import asyncio
import json
import threading
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from app.access import live_events, live_studies
from app.access.callers import ALL_SCOPES, Scope
from app.access.live_events import Begin
from app.access.live_studies import LiveStudies
from app.api import live
from app.errors import Busy
from app.http import authentication
from app.store import snapshot
from app.timeline.times import microseconds
from tests.api.examples import JSON, codes, events, fill, lab, make_study

TABLE = {"Content-Type": "text/csv"}
ROWS = "patient,time,code,value,unit,upper_limit\nP00,2005-06-01,CK,{},U/L,163\nP00,2005-06-02,CK,80,U/L,163\n"


def read(text):
    """The events of a stream: name, id and data. A block without data is not an event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


def stream(client, home, query="", **headers):
    answer = client.get(f"{home}/changes/stream?{query}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/event-stream"), answer.text
    return answer.text


def until_silence(revisions=0, seconds=0.2):
    """Follow a study until so many revisions have come and after them nothing for so long. Then all there is was told:
    how long that takes is for the machine to say.
    """
    follow = LiveStudies.follow

    async def following(live, database, study, begin, pause):
        del pause
        heard = 0
        async with aclosing(follow(live, database, study, begin, seconds)) as told:
            async for part in told:
                heard += part.count(b"event: revision\n")
                if not part and heard >= revisions:
                    return
                yield part

    return following


def told(client, home, query="", **headers):
    """All that there is to tell."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LiveStudies, "follow", until_silence())
        return stream(client, home, f"{query}seconds=60", **headers)


class Following(threading.Thread):
    """Reads a stream beside the test."""

    def __init__(self, client, home, query="seconds=6", headers=None):
        super().__init__(daemon=True)
        self.asked, self.text, self.seconds = (client, home, query, headers or {}), "", 0.0
        self.before = client.app.state.live.connections
        self.start()
        while client.app.state.live.connections == self.before and self.is_alive():
            time.sleep(0.01)

    def run(self):
        began = time.monotonic()
        client, home, query, headers = self.asked
        self.text = client.get(f"{home}/changes/stream?{query}", headers=headers).text
        self.seconds = time.monotonic() - began

    def read(self):
        self.join(100)
        assert not self.is_alive()
        return read(self.text)


def send_away(client):
    """End all connections, as if the ledger had been replaced by an older one."""
    live = client.app.state.live

    def end():
        for followed in live._followed.values():
            followed.latest = -1
            followed.tell()

    while sum(followed.followers for followed in list(live._followed.values())) < live.connections:
        time.sleep(0.01)
    client.portal.call(end)


def changed(client):
    """A study with revisions of each kind."""
    home = fill(client, 2)
    make_study(client, identifiers="pseudonyms")
    for value in ("?", "70"):
        assert client.post(f"{home}/labs", content=ROWS.format(value), headers=TABLE).status_code == 200
    client.put(f"{home}/protocol", json=client.get("/v1/protocols/relative-20").json())
    client.post(f"{home}/patients/P01/events", json=events("P01", lab(60, 99)))
    return home


def test_the_events_say_of_each_revision_what_the_ledger_and_the_changes_say(anywhere):
    home = changed(anywhere)
    found = read(told(anywhere, home, "from=0&"))
    latest = anywhere.get(home).json()["revision"]
    revisions = [(number, data) for name, number, data in found if name == "revision"]
    assert [(number, data["revision"]) for number, data in revisions] == [(str(n), n) for n in range(1, latest + 1)]
    assert {name for name, _, _ in found} == {"revision", "set_aside", "answer_changed"}
    assert all(number is None for name, number, _ in found if name != "revision"), "only the last event has an id"
    ledger = {each["revision"]: each for each in anywhere.get(f"{home}/revisions").json()["items"]}
    steps = {each["revision"]: each for each in anywhere.get(f"{home}/changes?from=0").json()["items"]}
    for _, data in revisions:
        number = data["revision"]
        assert (data["received_at"], data["format"]) == (ledger[number]["received_at"], ledger[number]["format"])
        assert (data["facts"], data["protocol_changed"]) == (steps[number]["facts"], steps[number]["protocol_changed"])
    moved = {data["revision"]: (data["data"], data["protocol"]) for name, _, data in found if name == "answer_changed"}
    assert moved == {
        number: (bool(step["facts"]), step["protocol_changed"])
        for number, step in steps.items()
        if step["facts"] or step["protocol_changed"]
    }
    assert (False, True) in moved.values()
    aside = [(data["added"], data["ended"]) for name, _, data in found if name == "set_aside"]
    assert aside == [(1, 0), (0, 1)]


def test_no_event_names_a_patient_or_holds_a_value(client):
    home = changed(client)
    text = told(client, home, "from=0&")
    received = [data["received_at"] for name, _, data in read(text) if name == "revision"]
    assert len(received) == client.get(home).json()["revision"]
    for time_of_receipt in received:  # it may have any digits
        text = text.replace(f'"received_at":"{time_of_receipt}"', "")
    assert "received_at" not in text
    assert not any(word in text for word in ("P00", "P01", "1000", "163", "2005-"))


def test_a_revision_comes_while_one_follows_and_only_once(anywhere, monkeypatch):
    monkeypatch.setattr(LiveStudies, "follow", until_silence(2, 2 * live_studies.POLL_SECONDS))
    home = fill(anywhere, 1)
    before = anywhere.get(home).json()["revision"]
    following = Following(anywhere, home, "seconds=60")
    for value in (11, 12):
        anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(value, value)))
    numbers = [number for name, number, _ in following.read() if name == "revision"]
    assert numbers == [str(before + 1), str(before + 2)]
    assert following.text.startswith(f"id: {before}\nretry: 2000\n\n")


def test_who_comes_back_gets_what_was_missed(client):
    home = fill(client, 3)
    latest = client.get(home).json()["revision"]
    for asked, headers in (("", {"Last-Event-ID": str(latest - 2)}), (f"from={latest - 2}&", {}),
                           ("from=0&", {"Last-Event-ID": str(latest - 2)})):  # fmt: skip
        found = read(told(client, home, asked, **headers))
        assert [number for _, number, _ in found if number] == [str(latest - 1), str(latest)]
    assert read(stream(client, home, "seconds=1")) == []


def test_a_gap_of_many_revisions_is_read_in_parts(client, monkeypatch):
    monkeypatch.setattr(live_studies, "AT_ONCE", 2)
    home = changed(client)
    whole = [number for _, number, _ in read(told(client, home, "from=0&")) if number]
    assert whole == [str(n) for n in range(1, client.get(home).json()["revision"] + 1)]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "²", "9" * 16])
def test_an_id_that_is_no_revision_is_refused(client, given):
    home = fill(client, 1)
    answer = client.get(f"{home}/changes/stream", headers={"Last-Event-ID": given.encode()})
    assert codes(answer) == [("/header/last-event-id", "malformed")]


def test_a_revision_that_the_study_has_not_is_not_found(client):
    home = fill(client, 1)
    latest = client.get(home).json()["revision"]
    assert client.get(f"{home}/changes/stream?from={latest + 1}").status_code == 404
    assert client.get(f"{home}/changes/stream", headers={"Last-Event-ID": str(latest + 1)}).status_code == 404
    assert client.get("/v1/studies/nobody/changes/stream").status_code == 404
    assert codes(client.get(f"{home}/changes/stream?seconds=3601"))[0][0] == "/query/seconds"


def test_head_is_answered_at_once(client):
    home = fill(client, 1)
    answer = client.head(f"{home}/changes/stream")
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.app.state.live.connections == 0


def test_a_browser_that_opens_the_address_gets_the_events_and_no_page_waits_for_their_end(client):
    home = fill(client, 1)
    assert read(told(client, home, "from=0&", Accept="text/html,*/*;q=0.8"))
    assert client.get(f"{home}/changes/stream.html").status_code == 404
    assert client.app.state.live.connections == 0


def test_silence_is_filled_with_comments(client, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    assert stream(client, fill(client, 1), "seconds=1").count("\n: ") + 1 >= 3


def test_the_connections_are_bounded_and_the_next_one_is_told_when_to_come_back(serve, sqlite_url):
    client = serve(sqlite_url, live_connections=2)
    home = fill(client, 1)
    first, second = Following(client, home, "seconds=60"), Following(client, home, "seconds=60")
    refused = client.get(f"{home}/changes/stream")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert client.get("/livez").status_code == client.get(f"{home}/revisions").status_code == 200
    send_away(client)
    assert (first.read(), second.read()) == ([], [])
    assert client.app.state.live.connections == 0
    stream(client, home, "seconds=0")


def test_one_client_has_its_own_bound_and_takes_no_place_of_others(serve, sqlite_url):
    client = serve(sqlite_url, require_keys=True, live_connections_of_client=1)
    keys, now = client.app_state["app_state"].authenticator.keys, microseconds(datetime.now(UTC))
    one, two = ({"Authorization": f"Bearer {keys.create('x', ALL_SCOPES, None, now=now).text}"} for _ in range(2))
    client.headers.update(one)
    home = fill(client, 1)
    following = Following(client, home, "seconds=60")
    assert client.get(f"{home}/changes/stream").status_code == 503
    assert client.get(f"{home}/changes/stream?seconds=0", headers=two).status_code == 200
    send_away(client)
    assert following.read() == []


@pytest.mark.parametrize("how", ["revoked", "expired", "session"])
def test_a_connection_ends_with_its_key(serve, sqlite_url, monkeypatch, how):
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    client = serve(sqlite_url, require_keys=True)
    keys, now = client.app_state["app_state"].authenticator.keys, microseconds(datetime.now(UTC))
    admin = {"Authorization": f"Bearer {keys.create('a', ALL_SCOPES, None, now=now).text}"}
    client.headers.update(admin)
    home = fill(client, 1)
    del client.headers["authorization"]
    ends = datetime.now(UTC) + timedelta(minutes=10)
    key = keys.create("x", [Scope.READ], ["trial"], now=now, expires_at=microseconds(ends))
    bearer = {"Authorization": f"Bearer {key.text}"}
    if how == "session":
        begun = client.post("/v1/session", headers=bearer | {"Origin": "http://127.0.0.1:8000"})
        assert begun.status_code in {200, 201, 204}, begun.text
        bearer = {}
    following = Following(client, home, "seconds=30", bearer)
    time.sleep(0.3)
    assert following.is_alive()
    if how == "revoked":
        keys.revoke(key.stored.prefix, microseconds(datetime.now(UTC)))
    if how == "session":
        keys.end_sessions(key.stored.prefix, microseconds(datetime.now(UTC)))
    if how == "expired":
        monkeypatch.setattr(authentication, "datetime", SimpleNamespace(now=lambda zone: ends))
    following.join(20)
    assert not following.is_alive()


def test_the_audit_has_one_row_for_a_connection_with_many_events(anywhere):
    home = changed(anywhere)
    told(anywhere, home, "from=0&")
    anywhere.app_state["app_state"].trail.close()
    rows = [row for row in anywhere.get("/v1/audit?study=trial&limit=500").json()["items"]
            if row["operation"] == "getChangesStream"]  # fmt: skip
    assert [(row["status"], row["extent"], row["patients"], row["scope"]) for row in rows] == [
        (200, "figures", [], "read")
    ]


def test_the_end_of_the_service_ends_all_connections_and_takes_no_more(client):
    home = fill(client, 1)
    following = Following(client, home, "seconds=60")
    client.portal.call(client.app.state.live.close)
    assert following.read() == []
    assert following.seconds < 50
    assert client.get(f"{home}/changes/stream").status_code == 503


# --- what all connections of a process share --------------------------------------------------------------------------


def test_many_connections_of_one_process_look_once_a_second_and_read_a_revision_once(client, monkeypatch):
    home = fill(client, 1)
    make_study(client, "other")
    database = client.app_state["app_state"].database
    looked, reads = [], []
    monkeypatch.setattr(snapshot, "latest_revisions", counting(snapshot.latest_revisions, looked))
    monkeypatch.setattr(live_events, "events_of_study", counting(live_events.events_of_study, reads))
    latest = client.get(home).json()["revision"]
    other = client.get("/v1/studies/other").json()["revision"]

    async def first(shared, study, begin):
        return await anext(shared.follow(database, study, Begin(begin, begin), 10))

    async def run():
        shared = LiveStudies(200, 10)
        everybody = [asyncio.create_task(first(shared, "trial", latest)) for _ in range(100)]
        elsewhere = asyncio.create_task(first(shared, "other", other))
        began = time.monotonic()
        await asyncio.sleep(1.5)
        await asyncio.to_thread(
            client.post, f"{home}/patients/P00/events", content=json.dumps(events("P00", lab(1, 5))), headers=JSON
        )
        found = await asyncio.gather(*everybody)
        elsewhere.cancel()
        await shared.close()
        return found, time.monotonic() - began

    found, seconds = asyncio.run(run())
    assert len(set(found)) == 1
    assert [number for name, number, _ in read(found[0].decode()) if name == "revision"] == [str(latest + 1)]
    assert len(looked) <= seconds / live_studies.POLL_SECONDS + 1
    assert len(reads) == 1


def test_who_begins_later_than_the_others_know_of_ends_nobody(client):
    """The answer to a new connection may know a revision before the next look."""
    home = fill(client, 2)
    database, latest = client.app_state["app_state"].database, client.get(home).json()["revision"]

    async def run():
        shared = LiveStudies(200, 10)
        early = shared.follow(database, "trial", Begin(latest - 1, latest - 1), 10)
        waiting = asyncio.create_task(anext(early))
        await asyncio.sleep(0.1)
        late = shared.follow(database, "trial", Begin(latest, latest), 0.1)
        assert await anext(late) == b""
        assert [number for _, number, _ in read((await waiting).decode()) if number] == [str(latest)]
        await early.aclose()
        await late.aclose()
        await shared.close()

    asyncio.run(run())


def test_who_joins_while_older_revisions_are_looked_up_is_not_ended(client, monkeypatch):
    home = fill(client, 2)
    database, latest = client.app_state["app_state"].database, client.get(home).json()["revision"]
    looking, joined = threading.Event(), threading.Event()

    def look(*_):
        found = latest if looking.is_set() else latest - 1
        looking.set()
        assert joined.wait(5)
        return {"trial": found}

    monkeypatch.setattr(live_studies, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(snapshot, "latest_revisions", look)

    async def run():
        shared = LiveStudies(200, 10)
        early = shared.follow(database, "trial", Begin(latest - 1, latest - 1), 10)
        waiting = asyncio.create_task(anext(early))
        await asyncio.to_thread(looking.wait, 5)
        late = shared.follow(database, "trial", Begin(latest, latest), 0.2)
        beginning = asyncio.create_task(anext(late))
        assert await waiting
        joined.set()
        assert await beginning == b""
        await early.aclose()
        await late.aclose()
        await shared.close()

    asyncio.run(run())


def test_a_ledger_that_was_replaced_by_an_older_one_ends_the_connection(client, monkeypatch):
    home = fill(client, 2)
    database, latest = client.app_state["app_state"].database, client.get(home).json()["revision"]
    monkeypatch.setattr(live_studies, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(snapshot, "latest_revisions", lambda *_: {"trial": latest - 1})

    async def run():
        shared = LiveStudies(200, 10)
        found = [part async for part in shared.follow(database, "trial", Begin(latest, latest), 10)]
        await shared.close()
        return found

    assert asyncio.run(asyncio.wait_for(run(), 5)) == []


def test_a_database_that_does_not_answer_is_asked_again(client, monkeypatch):
    home = fill(client, 2)
    database, latest = client.app_state["app_state"].database, client.get(home).json()["revision"]
    real, failed = snapshot.latest_revisions, []

    def failing(*given):
        if len(failed) < 3:
            failed.append(1)
            raise Busy
        return real(*given)

    monkeypatch.setattr(live_studies, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(snapshot, "latest_revisions", failing)

    async def run():
        shared = LiveStudies(200, 10)
        found = await anext(shared.follow(database, "trial", Begin(latest - 1, latest - 1), 5))
        await shared.close()
        return found

    assert read(asyncio.run(run()).decode())[-1][1] == str(latest)


def counting(function, calls):
    def counted(*given):
        calls.append(1)
        return function(*given)

    return counted
