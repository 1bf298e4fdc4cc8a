"""Batches of 1 to 50 timelines, some of them wrong in different ways, are sent as one and item by item, also with a key
and sent again. Item by item, exactly the right ones must be stored, with one outcome for each in the order of the
items; as one, a single wrong item must leave every row of every table as it was, but for the record of the refusal.
"""

import http.client
import json
import random
from contextlib import closing
from typing import Any

from tests.api.examples import events, lab
from tests.api.test_server import running
from tests.repetition import repeats
from tests.trust.figures import Figure
from tests.trust.ground import ASIDE, dump, folder, fresh

WRONG: tuple[Any, ...] = (
    {"patient": {"id": "a b"}},
    {"patient": {"id": "P1"}, "labs": [{"code": "CK"}]},
    {"patient": {"id": "P1"}, "labs": [lab(7, -1)]},
    {"patient": {"id": "P1"}, "infusions": [{"time": "2005-02-30", "product": "IVIG"}]},
    {"patient": {"id": "P1"}, "unknown": 1},
    [],
    None,
)


def run(full: bool) -> list[Figure]:
    """Send and compare."""
    batches, chance = 300 if full else repeats(12), random.Random(1)
    sent = bad = refused = 0
    with folder() as place:
        url = fresh(place / "x.db")
        with running(url) as server:
            stored: set[str] = set()
            for number in range(batches):
                items: list[Any] = [
                    chance.choice(WRONG) if chance.random() < 0.3 else events(f"B{number}-{i}", lab(7, i + 1))
                    for i in range(chance.randint(1, 50))
                ]
                right = [item["patient"]["id"] if item not in WRONG else None for item in items]
                if None in right:
                    before = dump(url, ASIDE)
                    status, _ = _post(server.port, items, "?atomic=true")
                    assert status == 422
                    assert dump(url, ASIDE) == before, "a batch that was refused as a whole has left something"
                    refused += 1
                key = f'"{number}"' if chance.random() < 0.5 else None
                status, first = _post(server.port, items, "", key)
                assert status == (200 if any(right) else 422), first
                if key:
                    assert _post(server.port, items, "", key) == (status, first)
                outcomes = json.loads(first)["items"]
                assert [each["index"] for each in outcomes] == list(range(len(items)))
                assert [each["patient"] if each["status"] == "created" else None for each in outcomes] == right
                stored.update(filter(None, right))
                sent, bad = sent + len(items), bad + right.count(None)
            assert _stored(server.port) == stored
    return [
        Figure("P5", "batches sent item by item; items; of them wrong", f"{batches}; {sent}; {bad}"),
        Figure("P5", "items with no outcome or a wrong one; wrong items stored; right items not stored", "0; 0; 0"),
        Figure("P4", "batches sent as one with a wrong item; of them refused without a trace", f"{refused}; {refused}"),
    ]  # fmt: skip


def _post(port: int, items: list[Any], query: str, key: str | None = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("POST", f"/v1/studies/trial/timelines{query}", json.dumps(items), headers)
        answer = client.getresponse()
        return answer.status, answer.read()


def _stored(port: int) -> set[str]:
    """All patients, page by page."""
    found: set[str] = set()
    path: str | None = "/v1/studies/trial/patients?limit=500"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        while path:
            client.request("GET", path)
            page = json.loads(client.getresponse().read())
            found.update(item["patient"]["id"] for item in page["items"])
            path = page["next"]
    return found
