"""What a service that rests costs: its start and its memory, against the first release and against eager imports."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.bench.first_release import first_release
from tests.bench.loopback import ROOT, await_first_answer, free_port, process_seconds

PAIRS = 5
REST_SECONDS = 15
"""After that the statistics are loaded, wherever they are."""
SERVE = "import sys; sys.argv = ['app', 'serve']; from app.__main__ import cli; cli()"
EVERYTHING = "import scipy.stats, lifelines, app.main, app.http.rooms as r; r.every_route(app.main.create_app())"
EAGER = f"{EVERYTHING}; {SERVE}"
GIVEN = "fastapi, pydantic, sqlalchemy, uvicorn"
"""What every start imports, whatever the service is made of: the part of its time that cannot be saved here."""


def start_and_rest(folder: Path) -> list[tuple[str, str, str]]:
    """The rows. Bytecode is compiled before anything is measured, as it is in the image."""
    ours = prepared(folder, "ours", ROOT)
    pairs = [(start(ours, SERVE), start(ours, EAGER)) for _ in range(PAIRS)]
    rows = [
        (
            f"start to first `/livez` ({statistics.median(lazy for lazy, _ in pairs):.2f} s of CPU)",
            "the same with all rooms, scipy.stats and lifelines imported first",
            f"{statistics.median(lazy / eager for lazy, eager in pairs):.2f}; asked: at most 0.4",
        )
    ]
    with first_release(folder) as tree:
        if tree is None:
            return [*rows, ("start and memory at rest", "0.1.0", "skipped: this clone does not have its commit")]
        first = prepared(folder, "first", tree)
        rounds = [(start(ours, SERVE), start(first, SERVE), imported(first, GIVEN)) for _ in range(PAIRS)]
        ratio = statistics.median(mine / other for mine, other, _ in rounds)
        least = statistics.median(given / other for _, other, given in rounds)
        mine, other, given = (statistics.median(side) for side in zip(*rounds, strict=True))
        rows.append(
            (f"start to first `/livez` ({mine:.2f} s of CPU)", f"0.1.0 ({other:.2f} s)", f"{ratio:.2f}; asked: 0.5")
        )
        rows.append(
            (f"{GIVEN} imported, and nothing else ({given:.2f} s of CPU)", "the start of 0.1.0", f"{least:.2f}")
        )
        (rest, answered), (rest_first, _) = memory(ours), memory(first)
        rows.append(
            (
                f"memory of the serving process at rest ({rest:.0f} MB)",
                f"0.1.0 ({rest_first:.0f} MB)",
                f"{rest / rest_first:.2f}; asked: 0.5",
            )
        )
        rows.append(
            (f"memory of the serving process after its first answer ({answered:.0f} MB)", "-", "asked: at most 160 MB")
        )
    return rows


def prepared(folder: Path, name: str, tree: Path) -> tuple[Path, dict[str, str]]:
    """A tree and the environment of its service: a database with the demonstration study, and compiled modules."""
    environment = os.environ | {
        "MYORESPONSE_DATABASE_URL": f"sqlite:///{folder / name}.db",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for command in ("migrate", "demo"):
        subprocess.run(
            [sys.executable, "-m", "app", command], cwd=tree, env=environment, check=True, capture_output=True
        )
    start((tree, environment), f"import scipy.stats, lifelines; {SERVE}")
    return tree, environment


@contextmanager
def serving(place: tuple[Path, dict[str, str]], code: str) -> Iterator[tuple[int, int]]:
    """The process of a service that has answered once, and its port."""
    (tree, environment), port = place, free_port()
    more = {"MYORESPONSE_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tree, env=environment | more, stdout=subprocess.DEVNULL
    )
    try:
        await_first_answer(port)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(30)


def start(place: tuple[Path, dict[str, str]], code: str) -> float:
    """Seconds of CPU from the beginning of the process to its first answer."""
    with serving(place, code) as (process, _):
        return process_seconds(process)


def imported(place: tuple[Path, dict[str, str]], modules: str) -> float:
    """Seconds of CPU of a process that imports these modules and ends."""
    before = os.times()
    subprocess.run([sys.executable, "-c", f"import {modules}"], cwd=place[0], env=place[1], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def memory(place: tuple[Path, dict[str, str]]) -> tuple[float, float]:
    """Megabytes of the serving process at rest, and after its first answer."""
    with serving(place, SERVE) as (process, port):
        time.sleep(REST_SECONDS)
        rest = megabytes(process)
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/v1/studies/demo/analyses/response-rates")
        assert connection.getresponse().status == 200
        return rest, megabytes(process)


def megabytes(process: int) -> float:
    """The memory of a process."""
    [line] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e6
