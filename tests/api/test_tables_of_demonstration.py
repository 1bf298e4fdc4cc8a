"""Who has only spreadsheets gets every figure of the demonstration study."""

from typing import Any

import pytest

from tests.api.demonstration_tables import MAPPING, redcap, six_tables, timelines
from tests.api.examples import make_study

CSV = {"Content-Type": "text/csv"}
PSEUDONYMS = {"identifiers": "pseudonyms", "test": True}


def post(client: Any, address: str, table: bytes, **query: str) -> Any:
    answer = client.post(address, content=table, headers=CSV, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def figures(client: Any, home: str) -> dict[str, Any]:
    """The report, and the questions beside it: everything but the name, the revision and the time of the study."""
    found = {}
    for address in ("", "/steroid-sparing", "/courses", "/safety"):
        document = client.get(f"{home}/analyses{address}").json()
        assert document["results"] if address else document["analyses"]
        found[address] = {name: document[name] for name in document if name not in {"study", "revision", "as_of"}}
    return found


@pytest.fixture
def native(client) -> dict[str, Any]:
    home = make_study(client, "native", **PSEUDONYMS)
    assert client.post(f"{home}/timelines", json=timelines()).status_code == 200
    return figures(client, home)


def kept(answer: Any) -> tuple[int, set[str]]:
    """How many facts are kept, and what else there is."""
    return answer["facts"]["kept"], {name for name, count in answer["facts"].items() if count and name != "kept"}


def test_six_tables_give_the_figures_of_the_native_study(client, native):
    home = make_study(client, "six", **PSEUDONYMS)
    for kind, table in six_tables().items():
        answer = post(client, f"{home}/tables/{kind}", table)
        assert kept(answer)[1] == set(), (kind, answer)
    assert figures(client, home) == native


def test_an_export_of_redcap_gives_the_figures_of_the_native_study(client, native):
    home = make_study(client, "redcap", **PSEUDONYMS, tables=[MAPPING])
    answer = post(client, f"{home}/tables", redcap(), mapping="redcap")
    assert (kept(answer)[1], answer["skipped"], answer["unread"]) == (set(), {}, [2, 4, 5])
    assert figures(client, home) == native
