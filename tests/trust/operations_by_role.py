"""Every operation is requested by every role (no key, a key of each scope, of all scopes, expired, revoked, of another
study, and tokens) on its own study, on one of somebody else and on one that does not exist. What a role may not do must
be refused with the status of its cause and change nothing; what it may do must get past the door.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app.access.callers import ALL_SCOPES, Scope
from app.access.operations import KNOWN, NEEDS, OPEN
from app.fhir.search_parameters import SEARCHES
from app.main import create_app
from app.settings import Settings
from app.timeline.times import microseconds
from tests.api.examples import fill
from tests.tables import with_tables
from tests.trust.figures import Figure

BASE = "http://127.0.0.1:8000"
OWN, FOREIGN, ABSENT = "own", "foreign", "absent"
VALUES = {
    "patient": "P00", "id": "x", "version": "1", "name": "adsl.csv", "analysis": "response-rates", "item": "1",
    "slug": "invalid", "protocol": "seed-2008",
}  # fmt: skip
UNSUPPORTED = {each for each in NEEDS if each.endswith(("{rest:path}", "/_history", "${operation}", " /fhir/{study}"))}
UNSUPPORTED -= {"POST /fhir/{study}", *(f"GET /fhir/{{study}}/{kind}/{{id}}/_history" for kind in SEARCHES)}
"""What FHIR has and the service does not support: it is refused by its name (404), whoever may ask."""
ASKED_IN_VAIN = "?nonsense=1"
"""A parameter that no operation has: who gets past the door is answered 422, and nothing is done."""


@dataclass(frozen=True)
class Role:
    """Who asks, and what that allows."""

    name: str
    headers: dict[str, str]
    scopes: frozenset[Scope] = frozenset()
    studies: frozenset[str] | None = frozenset()

    def expected(self, operation: str, studies: tuple[str, ...]) -> int:
        """The status of the door; 200 stands for all that is not the door's."""
        if not self.headers:
            return 200 if operation in OPEN else 401
        if self.studies == frozenset():
            return 401
        if operation in OPEN | KNOWN:
            return 200
        if NEEDS[operation] not in self.scopes:
            return 403
        may = self.studies is None or set(studies) <= self.studies
        return 200 if may and operation not in UNSUPPORTED else 404


@contextmanager
def service(folder: Path) -> Iterator[TestClient]:
    """A service that asks everybody for a key, with two studies."""
    url = with_tables(f"sqlite:///{folder / 'x.db'}")
    app = create_app(Settings(database_url=url, require_keys=True, rate=""))
    with TestClient(app, base_url=BASE, client=("127.0.0.1", 5000)) as client:
        yield client


def roles(client: TestClient) -> list[Role]:
    """Every role, with its key."""
    keys, now = client.app_state["app_state"].authenticator.keys, microseconds(datetime.now(UTC))

    def bearer(scopes: Any, studies: Any, **more: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys.create('role', scopes, studies, now=now, **more).text}"}

    revoked = keys.create("role", ALL_SCOPES, None, now=now)
    keys.revoke(revoked.stored.prefix, now)
    rotated = keys.create("role", ALL_SCOPES, None, now=now - 10)
    keys.rotate(rotated.stored.prefix, now=now - 5, overlap=1)
    every = frozenset({OWN, ABSENT})
    return [
        Role("no key", {}),
        *(Role(f"the scope {scope}", bearer([scope], every), frozenset({scope}), every) for scope in Scope),
        Role("every scope", bearer(ALL_SCOPES, every), ALL_SCOPES, every),
        Role("every scope, every study", bearer(ALL_SCOPES, None), ALL_SCOPES, None),
        Role("another study", bearer(ALL_SCOPES, ["elsewhere"]), ALL_SCOPES, frozenset({"elsewhere"})),
        Role("no scope", bearer([], every), frozenset(), every),
        Role("expired", bearer(ALL_SCOPES, None, expires_at=now)),
        Role("revoked", {"Authorization": f"Bearer {revoked.text}"}),
        Role("rotated and past its overlap", {"Authorization": f"Bearer {rotated.text}"}),
        Role("a key that never was", {"Authorization": f"Bearer myo_00000000_{'a' * 43}"}),
        Role("an unsigned token", {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}),
    ]


def addresses(operation: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The addresses of an operation in each study, and the studies that each of them names."""
    path = operation.partition(" ")[2]
    for name, value in VALUES.items():
        path = path.replace(f"{{{name}}}", value)
    named = re.findall(r"\{(study|other)\}", path)
    if not named:
        yield path, ()
    elif named == ["study"]:
        for study in (OWN, FOREIGN, ABSENT):
            yield path.replace("{study}", study), (study,)
    else:
        for study, other in ((OWN, FOREIGN), (FOREIGN, OWN), (OWN, ABSENT), (ABSENT, FOREIGN)):
            yield path.replace("{study}", study).replace("{other}", other), (study, other)


def door(client: TestClient, method: str, address: str, role: Role, expected: int) -> int:
    """The status of a real request, or of one that is asked in vain if it is allowed; 200 if the door lets it pass."""
    if expected == 200:
        status = client.request(method, f"{address}{ASKED_IN_VAIN}", headers=role.headers).status_code
        return 200 if status not in {401, 403, 404} or address.startswith("/docs/files") else status
    body: Any = {"json": {}} if method in {"PUT", "POST"} else {}
    query = "?erase=true" if method == "DELETE" and address.startswith("/v1/") else ""
    return client.request(method, address + query, headers=role.headers, **body).status_code


def attempts(operations: list[str], *, full: bool) -> tuple[int, list[tuple[Any, ...]]]:
    """How often the operations were tried, and where a role got more or less than it may.

    Unless everything is tried, whoever is refused at the door (401, 403) asks each operation about one study, in turn.
    """
    tried, wrong = 0, []
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as client:
        known = roles(client)
        everything = next(role.headers for role in known if role.studies is None)
        client.headers.update(everything)
        for study in (OWN, FOREIGN):
            fill(client, 1, study)
        before = [client.get(f"/v1/studies/{study}/revisions").json() for study in (OWN, FOREIGN)]
        del client.headers["authorization"]
        for turn, operation in enumerate(operations):
            method = operation.partition(" ")[0]
            for place, (address, studies) in enumerate(named := list(addresses(operation))):
                for number, role in enumerate(known):
                    expected = role.expected(operation, studies)
                    if not full and expected in {401, 403} and (turn + number) % len(named) != place:
                        continue
                    for verb in ("GET", "HEAD") if method == "GET" and full else (method,):
                        tried += 1
                        found = door(client, verb, address, role, expected)
                        if found != expected:
                            wrong.append((verb, address, role.name, found, expected))
        client.headers.update(everything)
        after = [client.get(f"/v1/studies/{study}/revisions").json() for study in (OWN, FOREIGN)]
    if before != after:
        wrong.append(("a refused request changed something",))
    return tried, wrong


def run(full: bool) -> list[Figure]:
    """Try everything; in the fast version only some of the analyses, and without HEAD."""
    operations = sorted(OPEN | KNOWN | NEEDS.keys())
    if not full:
        left_out = re.compile(r"/analyses/(?!response-rates|safety)|/(Medication\w+|AdverseEvent)(/|$)")
        operations = [each for each in operations if not left_out.search(each)]
    tried, wrong = attempts(operations, full=full)
    assert wrong == [], (len(wrong), wrong[:20])
    return [
        Figure("P10", "operations x 15 roles x own, foreign and absent studies: requests", f"{tried}"),
        Figure("P10", "operations tried", f"{len(operations)}"),
        Figure("P10", "wrongly allowed or wrongly refused", f"{len(wrong)}"),
    ]
