"""Whatever is sent, in whatever order: FHIR bundles made up by Hypothesis."""

import itertools
import shutil
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from fastapi.testclient import TestClient
from fhir.resources.R4B.bundle import Bundle as SecondOpinion
from hypothesis import given, settings
from hypothesis import strategies as st

from app.main import create_app
from app.settings import Settings
from tests.api.conftest import BASE
from tests.api.fhir_bodies import SECRET, URN, Facade, asks, bundle, ck, entry, ldh, told, whole
from tests.repetition import repeats

pytestmark = pytest.mark.slow

NUMBERS = st.sampled_from(["acc-1", "acc-2"])
RESULTS = st.builds(
    lambda number, value, status, hour: ck(
        value, number=number, status=status, issued=f"2005-03-17T{hour:02}:00:00+09:00"
    ),
    NUMBERS,
    st.sampled_from([100, 120, 140]),
    st.sampled_from(["preliminary", "final", "corrected", "entered-in-error"]),
    st.integers(0, 3),
)


def _order(resource: dict[str, Any]) -> tuple[str, str, str]:
    return resource["identifier"][0]["value"], resource["issued"], resource["status"]


@settings(max_examples=repeats(25))
@given(results=st.lists(RESULTS, max_size=6, unique_by=_order), data=st.data())
def test_whatever_the_order_and_the_bundles_one_state_is_reached(shared, results, data):
    """In one transaction, in a batch in another order, and one by one with each sent twice."""
    facades = [shared() for _ in range(3)]
    facades[0].post(bundle(*map(entry, results)))
    facades[1].post(bundle(*map(entry, data.draw(st.permutations(results))), type="batch"))
    for each in data.draw(st.permutations(results * 2)):
        assert facades[2].post(each).status_code in {200, 201}
    found = [[each.get("labs") for each in facade.timelines()] for facade in facades]
    assert found[0] == found[1] == found[2]


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["POST", "PUT", "DELETE", "GET", "Patient/x", "Observation/x", "identifier=a|b", URN, 'W/"1"']),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["value", "id", "url"]), inner),
    max_leaves=3,
)  # fmt: skip


def _places(part: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for name, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from _places(inner, (*at, name))


@settings(max_examples=repeats(150))
@given(data=st.data())
def test_whatever_stands_in_a_bundle_is_answered_and_never_half_stored(shared, data):
    facade = shared()
    sent = deepcopy(whole()) | {"type": data.draw(st.sampled_from(["transaction", "batch", "collection"]))}
    sent["entry"] += [
        entry(ck(id="x", number="acc-9"), "PUT", "Observation/x", ifMatch='W/"1"'),
        entry(ldh(), ifNoneExist="identifier=urn:oid:1.2.3.4|acc-77"),
        asks("DELETE", "Observation/x"),
    ]
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(list(_places(sent))))
        part = sent
        for name in way:
            part = part[name]
        part[last] = data.draw(ANYTHING)
    answer = facade.post(sent) if sent.get("resourceType") == "Bundle" else facade.send("POST", "", sent)
    assert answer.status_code in {200, 404, 405, 409, 410, 412, 422}, answer.text
    if answer.status_code == 200:
        assert SecondOpinion.model_validate_json(answer.content).type.endswith("-response")
    else:
        told(answer.json())
        assert facade.revision() == 0


@pytest.fixture(scope="module")
def shared(migrated_file, tmp_path_factory):
    """Studies of one service, as many as are asked for."""
    file = shutil.copy(migrated_file, tmp_path_factory.mktemp("bundles") / "x.db")
    numbers = itertools.count()
    app = create_app(Settings(database_url=f"sqlite:///{file}", pseudonym_secret=SECRET))
    with TestClient(app, base_url=BASE) as client:
        yield lambda: Facade(client, f"trial-{next(numbers)}", identifiers="pseudonyms")
