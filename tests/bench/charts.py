"""A chart that is kept in memory, against the JSON of its answer that is kept in memory."""

import json
import statistics
from http.client import HTTPConnection
from pathlib import Path

from app.demo import TIMELINES
from app.store.migrations import upgrade
from tests.bench.loopback import process_seconds, put_study, request, server

HOME = "/v1/studies/bench"
CHARTS = {"weekly-change": "weekly-change", "ck-normal-time": "ck-normal-time", "adverse-events": "safety"}
REQUESTS = 300
PAIRS = 5


def charts(folder: Path, requests: int = REQUESTS, pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """Server CPU of a kept SVG over that of the kept answer that it shows, and of its own specification."""
    url = f"sqlite:///{folder / 'charts.db'}"
    upgrade(url)
    rows = []
    with server(url) as (process, connection):
        put_study(connection)
        request(connection, "POST", f"{HOME}/timelines", TIMELINES.read_bytes())
        for name, question in CHARTS.items():
            addresses = (f"{HOME}/charts/{name}.svg", f"{HOME}/analyses/{question}", f"{HOME}/charts/{name}.json")
            costs = [[_cost(process, connection, each, requests) for each in addresses] for _ in range(pairs)]
            svg, answer, _ = (statistics.median(each) for each in zip(*costs, strict=True))
            to_answer, to_spec = (statistics.median(cost[0] / cost[place] for cost in costs) for place in (1, 2))
            rows.append(
                (
                    f"the chart `{name}` as SVG, from memory ({svg:.2f} ms)",
                    f"the answer to `{question}`, from memory ({answer:.2f} ms)",
                    f"{to_answer:.2f}; asked: at most 2; {to_spec:.2f} of its specification",
                )
            )
    return rows


def _cost(process: int, connection: HTTPConnection, address: str, requests: int) -> float:
    """Server CPU in milliseconds a request, once the answer is kept."""
    _get(connection, address)
    before = process_seconds(process)
    for _ in range(requests):
        _get(connection, address)
    return (process_seconds(process) - before) / requests * 1e3


def _get(connection: HTTPConnection, address: str) -> None:
    connection.request("GET", address)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise SystemExit(f"GET {address}: {response.status} {json.dumps(answer[:300].decode())}")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        for row in charts(Path(name)):
            print(*row, sep=" | ")
