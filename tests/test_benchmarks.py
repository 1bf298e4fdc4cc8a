"""The command of `benchmarks/` in small: its parts without any peer; the client, the table, picture and history."""

import json
import re
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.readers.json_timelines import read_timeline
from app.timeline.times import latest_acceptable
from benchmarks import __main__ as command
from benchmarks import programs, results
from benchmarks.load import loaded, request
from benchmarks.pairs import Counts, Load, Loaded, Row, Took, in_turn
from tests.bench.hospitals import HOSPITALS, RATE, RESULTS, timeline
from tests.bench.national import national
from tests.repetition import PROFILE, repeats

TINY = Counts(pairs=1, patients=60, derived=500, seconds=0.2, settle=0)
HERE = Path(command.__file__).parent
DATABASES = [pytest.param("postgresql", marks=pytest.mark.postgresql)]
"""Where the small registry is kept. The quick profile asks the one that such a registry needs."""
if PROFILE != "quick":
    DATABASES.append("sqlite")
TWICE = [(Took(1, 2), Took(2, 2)), (Took(1, 2), Took(4, 4)), (Took(1, 2), Took(2, 4))]


@pytest.fixture
def no_peers(monkeypatch, tmp_path):
    for module in (programs, results):
        monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / "not there")
    monkeypatch.setattr("benchmarks.programs.shutil.which", lambda name: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", command.PARTS)
def test_a_part_runs_without_peers_and_says_what_it_skipped(name, no_peers, capsys):
    rows, loads = command.measured([name], TINY)
    assert rows
    assert all(bool(row.skipped) != bool(row.pairs) for row in rows)
    assert ("SKIPPED" in capsys.readouterr().err) == (name != "shared_load")
    table = results.page(rows, loads, TINY.pairs)
    assert table.count("skipped:") == 2 * sum(bool(row.skipped) for row in rows)
    seen = {load.name: load.figure(lambda run: run.slowest(0.5)) for load in loads}
    assert len(seen) == {"posting": 2, "shared_load": 4}.get(name, 0)
    assert all(seconds > 0 for seconds in seen.values())


def test_a_part_that_does_not_exist_is_refused(capsys):
    assert command.main(["postings"]) == 2
    assert "posting, fhir_bundle" in capsys.readouterr().out


def test_the_ratio_is_the_median_of_how_much_longer_the_peer_took():
    row = Row("twice", "work", "peer", TWICE)
    assert (row.ratio("seconds"), row.ratio("cpu")) == (2, 2)
    assert row.ratios("cpu") == [1, 2, 2]
    assert Row("no time", "work", "peer", [(Took(1), Took(1, 1))]).ratio("cpu") is None


def test_sides_are_taken_in_turn_and_every_second_round_the_other_way_round():
    order: list[str] = []

    def side(name: str, seconds: float):
        def run():
            order.append(name)
            return Took(seconds)

        return run

    assert in_turn(2, side("a", 1), side("b", 2)) == [(Took(1), Took(2))] * 2
    assert order == ["a", "b", "b", "a"]


def test_p99_is_the_time_in_which_99_of_100_were_answered():
    load = Load(2.0, [each / 100 for each in range(100, 0, -1)])
    assert (load.slowest(0.5), load.slowest(0.99), load.per_second) == (0.5, 0.99, 50)


def test_a_peer_does_its_work_once_for_each_line(tmp_path):
    script = tmp_path / "peer.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(programs.PEERS)!r})\n"
                      "from turns import take_turns\ntake_turns('a peer', lambda: 7)\n")  # fmt: skip
    with programs.program([sys.executable, str(script)]) as peer:
        took, found = peer.once()
        assert (peer.name, found) == ("a peer", 7)
        assert 0 <= took.seconds < 1
        assert peer.took().cpu >= 0


def test_a_peer_that_ends_stops_the_command():
    with pytest.raises(SystemExit, match="a peer ended"):
        programs.Program([sys.executable, "-c", ""])


@contextmanager
def answering(status: int, *, kept: bool):
    """A server that answers everything with this status, and then closes the connection or not; and its requests, each
    with the port that its client has.
    """
    asked: list[tuple[str, int]] = []

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # the answer is sent at once

        def do_GET(self):
            asked.append((self.path, self.client_address[1]))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            if not kept:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port, asked
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("kept", [True, False])
def test_clients_ask_again_on_their_connection_until_it_is_time_and_every_answer_is_counted(kept):
    with answering(200, kept=kept) as (port, asked):
        addresses = iter([request("GET", f"/{number}") for number in range(100_000)])
        load = loaded(port, 0.5, reads=[addresses])["reads"]
    assert len(load.latencies) == len(asked) == len({path for path, _ in asked}) > 1
    assert len({client for _, client in asked}) == (1 if kept else len(asked))
    assert load.seconds >= 0.5


def test_a_refusal_under_load_stops_the_command():
    with answering(503, kept=True) as (port, _), pytest.raises(SystemExit, match="503"):
        loaded(port, 0.1, reads=[iter([request("GET", "/")])])


def test_the_table_names_the_ratio_its_range_and_what_was_asked():
    rows = [
        Row("a", "reading", "a library", TWICE, asked=8),
        Row("b", "writing", "a server", TWICE, asked=5, by="cpu"),
        Row("c", "counting", "a program", skipped="it is not installed"),
    ]
    loads = [Loaded("posts", 16, [Load(1.0, [0.001, 0.003], 0.002)])]
    loads += [Loaded("two runs", 1, [Load(1.0, [0.001], 0.002), Load(2.0, [0.003], 0.004)])]
    table = results.page(rows, loads, 3)
    assert "| reading | a library | 2 (2 to 4) | 2 (1 to 2) | 8 |" in table
    assert "| writing | a server | 2 (2 to 4) | 2 (1 to 2) | 5 of processor time |" in table
    assert "| counting | a program | skipped: it is not installed | skipped: it is not installed | – |" in table
    assert "| posts | 16 | 2.0 | 1.0 ms | 3.0 ms | 2.00 ms |" in table
    assert "| two runs | 1 | 0.8 | 2.0 ms | 2.0 ms | 3.00 ms |" in table


def test_the_picture_has_a_bar_for_each_ratio_and_marks_those_below_what_was_asked():
    rows = [
        Row("fast & good", "w", "p", TWICE, asked=2),
        Row("slow", "w", "p", TWICE, asked=8),
        Row("no", "w", "p", skipped="so"),
    ]
    drawing = ElementTree.fromstring(results.picture(rows))  # noqa: S314 - our own
    bars = [each for each in drawing.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "16"]
    labels = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert [bar.get("fill") for bar in bars] == ["#1b6e8c", "#b3541e"]
    assert bars[0].get("width") == bars[1].get("width")
    assert {"fast & good", "slow"} < set(labels)
    assert "no" not in labels


def test_a_ratio_more_than_a_fifth_worse_than_the_last_run_on_such_a_machine_is_reported():
    now = {"processor": "X", "processors": 2, "ratios": {"a": 7.9, "b": 8.1, "new": 1.0}}
    before = now | {
        "version": "1",
        "commit": "abc",
        "date": "2026-01-01",
        "ratios": {"a": 10.0, "b": 10.0, "gone": 3.0},
    }
    other = before | {"processor": "Y", "ratios": {"b": 100.0}}
    assert results.worse(now, [before, other]) == ["WORSE: a: 10 in 1 (abc, 2026-01-01), now 7.9"]
    assert "No ratio" in results.worse(now | {"ratios": {"a": 8.0}}, [before])[0]
    assert "nothing to compare" in results.worse(now, [other])[0]


def test_a_full_run_writes_the_table_the_picture_and_a_line_of_the_history(no_peers, tmp_path, capsys, monkeypatch):
    part = command.Measured([Row("a", "w", "p", TWICE)], [Loaded("posts", 1, [Load(1.0, [0.5])])])
    monkeypatch.setattr(command, "PARTS", {"a": lambda counts, folder: part})
    for quick in (["--quick"], ["a"]):
        assert command.main(quick, tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert command.main([], tmp_path) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["history.ndjson", "results.md", "results.svg"]
    first, second = results.read_history(tmp_path / "history.ndjson")
    assert first["ratios"] == second["ratios"] == {"a": 2}
    assert first["p50_p99_ms"] == {"posts": [500, 500]}
    assert {"version", "commit", "date", "processor", "processors", "versions"} < set(first)
    told = capsys.readouterr().out
    assert told.count("nothing to compare") == 1
    assert told.count("No ratio is more than 20 % worse") == 1


def test_the_readme_describes_every_part_and_every_peer():
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    assert [name for name in command.PARTS if f"### `{name}`" not in readme] == []
    wanted = re.findall(r"^[\w-]+", (HERE / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)
    names = {"djangorestframework": "Django REST framework", "fhir-resources": "fhir.resources", "pyarrow": "columns"}
    assert [each for each in wanted if names.get(each, each).lower() not in readme.lower()] == []


def test_the_history_holds_runs_that_can_be_compared():
    for run in results.read_history(HERE / "history.ndjson"):
        assert {"processor", "processors", "ratios", "version", "commit"} <= set(run), json.dumps(run)


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
def test_a_small_national_registry_keeps_all_that_it_acknowledged(database):
    patients = repeats(HOSPITALS)
    rows = dict(national(patients, postgres=database == "postgresql", seconds=1, settle=0))
    sent = patients * RESULTS + 3 * RATE
    assert rows["results acknowledged, and results stored"] == f"{sent:,}, {sent:,}"
    assert rows["`verify`"].startswith("right")
    assert all("refused: none" in figure for figure in rows.values() if "refused" in figure)


def test_a_hospital_has_a_hundred_results_of_a_patient_in_ten_years():
    history = read_timeline(timeline(7), latest_acceptable(datetime.now(UTC)))
    labs = history.labs
    assert (len(labs), {each.lab for each in labs}) == (RESULTS, {"H07"})
    days = [each.day for each in labs]
    assert 3_600 < max(days) - min(days) < 3_653
