"""The disk fails while the store writes: from the n-th system call that changes a file on, each such call gives ENOSPC
(the disk is full) or EIO (injected by strace), for many n. A refused write must leave every row of every table as it
was, its refusal and readiness must name the cause, and when the fault ends the same process must write again. Then the
whole service is asked while its disk fails.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.api.examples import events, lab
from tests.api.test_server import Process, running
from tests.trust.figures import Figure
from tests.trust.ground import ASIDE, dump, folder, fresh, harmed, need_strace, spread

CAUSES = {"ENOSPC": {"disk_full", "io_error"}, "EIO": {"io_error"}}


def run(full: bool) -> list[Figure]:
    """Let the disk fail and look."""
    need_strace()
    return [*at_each_call(full), *whole_service()]


def at_each_call(full: bool) -> list[Figure]:
    """Faults at single system calls of the store."""
    counts = (("pwrite64", 120, 50 if full else 3), ("fdatasync", 6, 6 if full else 2), ("ftruncate", 1, 1))
    points = [
        (name, f"{count}+", error)
        for error in CAUSES
        for name, most, wanted in counts
        for count in spread(most, wanted)
    ]
    causes: Counter[str] = Counter()
    acks, refused = set[int](), set[int]()
    recovered = 0
    with folder() as place:
        for name, *words in harmed("failing", fresh(place / "x.db"), points):
            match name:
                case "point":
                    point, error = words, words[-1]
                case "refused":
                    assert words[-1] in CAUSES[error], f"{error} was named {words[-1]}"
                    causes[f"{error} as {words[-1]}"] += 1
                    refused.add(int(words[0]))
                case "ack":
                    acks.add(int(words[0]))
                case "found":
                    assert words[0] == "0", "a write is there by halves"
                    assert set(map(int, words[1:])) == acks, f"after {point} the file has not what was acknowledged"
                case "same":
                    assert words == ["True"], "a refused write has left something"
                case "objection":
                    objection = words[0]
                case "after":
                    assert words == ["None"], f"the fault has ended, and readiness says {words}"
                    recovered += objection != "None"
        assert refused
    named = "; ".join(f"{each} {count}" for each, count in sorted(causes.items()))
    return [
        Figure("P4", "points from which on each call failed (ENOSPC, EIO)", str(len(points))),
        Figure("P4", "writes refused with 503, by the cause that was named", named),
        Figure("P4", "refused writes that left a row, and acknowledged writes that were lost", "0; 0"),
        Figure("P4", "times that readiness named the fault, and was back after it without a restart", str(recovered)),
    ]


def whole_service() -> list[Figure]:
    """The service as its clients and its operator see it, while its disk is full or broken."""
    with folder() as place:
        url = fresh(place / "x.db")
        with running(url) as server:
            assert _post(server, "P0")[0] == 201
            for error, causes in CAUSES.items():
                before = dump(url, ASIDE)
                with _failing(server, error):
                    status, problem = _post(server, "P1")
                    assert (status, problem["type"]) == (503, "/problems/unavailable"), problem
                    assert problem["cause"] in causes
                    time.sleep(1.1)
                    status, body = server.ask("GET", "/readyz")
                    assert (status, json.loads(body)["cause"] in causes) == (503, True), body
                    assert server.ask("GET", "/livez")[0] == 200
                assert dump(url, ASIDE) == before
                server.wait_for(rf"event=database cause=({'|'.join(causes)})")
                assert _post(server, "P2" + error)[0] == 201
                time.sleep(1.1)
                assert server.ask("GET", "/readyz")[0] == 200
    return [
        Figure("P4", "faults of the disk named by the whole service in answer, readiness and log", str(len(CAUSES)))
    ]


def _post(server: Process, patient: str) -> tuple[int, dict]:
    status, body = server.ask("POST", f"/v1/studies/trial/patients/{patient}/events", events(patient, lab(7, 1)))
    return status, json.loads(body)


def _is_traced(server: Process, tracer: int) -> bool:
    """Whether every thread of the server is traced by this process."""
    with suppress(OSError):  # a thread may end meanwhile
        threads = Path(f"/proc/{server.process.pid}/task").iterdir()
        return all(f"TracerPid:\t{tracer}\n" in (thread / "status").read_text() for thread in threads)
    return False


@contextmanager
def _failing(server: Process, error: str) -> Iterator[None]:
    """Every write to a file of the server gives an error."""
    calls = "pwrite64,fdatasync,ftruncate"
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}",
         "-o", "/dev/null", "-p", str(server.process.pid)],
        stderr=subprocess.DEVNULL,
    ) as tracer:  # fmt: skip
        try:
            while not _is_traced(server, tracer.pid):
                assert tracer.poll() is None, "the server is not traced"
                time.sleep(0.01)
            yield
        finally:
            tracer.terminate()
