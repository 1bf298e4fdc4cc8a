"""Times with every kind of offset and precision are stored and read again, on each database. Parts of the suite run
with the clock (`faketime`) at 2028-02-29 and after 2038-01-19, and in a zone with an offset of half hours. The clock of
a service that stores is then set back by an hour: nothing is refused, and revisions stay in order.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from app.secret_file import beside
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.store.tables import FACTS
from app.store.verification import verify_database
from app.timeline.times import read_time
from tests.api.examples import events, lab
from tests.api.test_server import environment, started
from tests.store.posts import LATEST, ck, got, post, timeline
from tests.tables import with_tables
from tests.trust.figures import Figure, NotHere
from tests.trust.ground import ROOT, databases, folder

CLOCKS = {
    "2028-02-29": ({}, "@2028-02-29 23:30:00"),
    "2038-01-20": ({}, "@2038-01-20 03:14:08"),
    "TZ=America/St_Johns": ({"TZ": "America/St_Johns"}, "+0"),
}
"""The variables and the clock of each run of a part of the suite."""
PART = [
    "tests/timeline",
    "tests/submission",
    *[f"tests/store/test_{name}.py" for name in ("ledger", "number_rule", "revisions", "opening", "heads", "worklist")],
    "tests/access/test_keys.py",
    "tests/api/test_audit.py::test_rows_are_found_by_patient_and_by_time_and_come_in_pages",
    "tests/api/test_audit.py::test_a_flood_of_refusals_has_a_row_and_a_count",
]
"""What reads, stores or compares times. Of the audit only the tests that look at times: each of the others starts a
service and says nothing about clocks.
"""
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
"""Each Python program runs this at its start: `faketime` 0.9.10 refuses to sleep until a moment of the clock that it
leaves alone, with EINVAL, and `time.sleep` does that. Other waits are right.
"""
WAITS = {"FAKETIME_FORCE_MONOTONIC_FIX": "0"}
"""Without it, `faketime` ends a wait of 5 ms for the interpreter at once, and threads wait for each other ten times as
long.
"""
FIRST, LAST = datetime(1900, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


def run(full: bool) -> list[Figure]:
    """Store, read, and change the clock."""
    if shutil.which("faketime") is None and full:
        raise NotHere("faketime is not installed")
    figures = _round_trips(2_000 if full else 100, full)
    if shutil.which("faketime") is None:
        return figures
    if full:
        figures += [_part(name, PART) for name in CLOCKS]
    else:
        figures.append(_part("2038-01-20", ["tests/timeline/test_times.py"]))
    return [*figures, _step_back(20 if full else 5)]


def _round_trips(count: int, full: bool) -> list[Figure]:
    chance = random.Random(1)
    texts = sorted({_text(chance) for _ in range(2 * count)})[:count]
    with databases(full) as found:
        for url, _ in found:
            database = Database(url)
            for first in range(0, count, 100):
                some = texts[first : first + 100]
                labs = [ck(f"k{first + place}", first + place + 1, time=text) for place, text in enumerate(some)]
                post(database, "trial", timeline(f"P{first}", *labs))
                read = {each["value"]: each["time"] for each in got(database, "trial", f"P{first}")["labs"]}
                assert read == {first + place + 1: text for place, text in enumerate(some)}, "a time has changed"
            with database.reading() as connection:
                rows = connection.execute(FACTS["labs"][0].select()).all()
            assert {row.time: (row.day, row.instant, bool(row.utc)) for row in rows} == {
                text: tuple(read_time(text, LATEST)) for text in texts
            }
            database.dispose()
    kinds = " and ".join(kind for _, kind in found)
    return [Figure("P18", f"times stored and read again on {kinds}; of them changed", f"{count} each; 0")]


def _text(chance: random.Random) -> str:
    """A time as a sender may write it."""
    at = FIRST + chance.random() * (LAST - FIRST)
    if chance.random() < 0.2:
        return at.date().isoformat()
    fraction = "".join(["", ".", *map(str, chance.choices(range(10), k=9))][: chance.choice([1, 3, 5, 8, 11])])
    if chance.random() < 0.2:
        return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"
    offset = timedelta(minutes=15 * chance.randint(-12 * 4, 14 * 4))
    written = at.astimezone(timezone(offset)).isoformat(timespec="seconds")
    return f"{written[:-6]}{fraction}{written[-6:]}"


def _part(name: str, part: list[str]) -> Figure:
    """A part of the suite with another clock. Time that passes is not changed: waits use a clock that never jumps."""
    variables, clock = CLOCKS[name]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not postgresql", *part]
    command = ["faketime", "-m", "--exclude-monotonic", "-f", clock, sys.executable, *pytest]
    with _sleeping() as sleeping:
        variables = os.environ | variables | sleeping
        for _ in range(3):
            done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
            if not done.stderr.startswith("faketime:"):
                break  # else a killed one of the same number has left its shared memory
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return Figure("P18", f"tests that pass with {name}", done.stdout.splitlines()[-1].split(" passed")[0])


@contextmanager
def _sleeping() -> Iterator[dict[str, str]]:
    """Variables with which Python programs can wait and sleep under `faketime`."""
    with folder() as place:
        (place / "sitecustomize.py").write_text(SLEEP, encoding="utf-8")
        yield WAITS | {"PYTHONPATH": str(place)}


def _step_back(posts: int) -> Figure:
    """Post, set the clock of the service back by an hour, post."""
    library = subprocess.run(
        ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with folder() as place, _sleeping() as sleeping:
        url, clock = f"sqlite:///{place / 'x.db'}", place / "clock"
        with_tables(url)
        clock.write_text("+0\n")
        faked = {
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", **sleeping,
        }  # fmt: skip
        with started([sys.executable, "-m", "app"], environment(url) | faked) as service:
            assert service.ask("PUT", "/v1/studies/trial", {"name": "T", "protocol": "seed-2008"})[0] == 201
            for number in range(2 * posts):
                if number == posts:
                    clock.write_text("-1h\n")
                path = f"/v1/studies/trial/patients/P{number}"
                assert service.ask("POST", f"{path}/events", events(f"P{number}", lab(7, 500)))[0] == 201
                assert service.ask("GET", path)[0] == 200
            assert service.ask("GET", "/readyz")[0] == 200
            service.stop()
        _look(url, 2 * posts)
    what = "posts before and after the clock of the service was set back by an hour; refused, out of order"
    return Figure("P18", what, f"{posts} and {posts}; 0, 0")


def _look(url: str, posts: int) -> None:
    """The revisions are in the order of their times, some of which are those of the clock that was set back."""
    database = Database(url, keys=LedgerKeys(beside(url, "secret")))
    assert open_ledger(database, beside(url, "heads")) is None
    with database.reading() as connection:
        times = list(connection.exec_driver_sql("SELECT received_at FROM revisions ORDER BY number").scalars())
        rows = list(connection.exec_driver_sql("SELECT at FROM audit ORDER BY chain, number").scalars())
        assert [part.faults for part in verify_database(connection, database.heads) if part.faults] == []
    database.dispose()
    assert len(times) == posts + 1
    assert times == sorted(times), "a revision is earlier than the one before"
    assert any(later < earlier for earlier, later in pairwise(rows)), "the clock was not set back"
