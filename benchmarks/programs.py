"""The peers: programs and servers in an environment of their own, started, asked and stopped."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from benchmarks.pairs import Took
from tests.bench.loopback import ROOT, free_port
from tests.trust.figures import NotHere

PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENT = ROOT / ".venv-peers"


def installed(program: str) -> str:
    """The path of a program of the peers' environment."""
    path = ENVIRONMENT / "bin" / program
    if not path.exists():
        raise NotHere("the peers are not installed; `make peers` installs them")
    return str(path)


def python(script: str, *arguments: object) -> list[str]:
    """The command of a peer that is a Python program."""
    return [installed("python"), str(PEERS / script), *map(str, arguments)]


def r(script: str, *arguments: object) -> list[str]:
    """The command of a peer that is a program in R."""
    found = shutil.which("Rscript")
    has_survival = [found or "Rscript", "-e", "quit(status = !requireNamespace('survival', quietly = TRUE))"]
    if not found or subprocess.run(has_survival, capture_output=True, check=False).returncode:
        raise NotHere("R with the package survival is not installed")
    return [found, str(PEERS / script), *map(str, arguments)]


class Program:
    """A peer that is ready, and does its work once for each line that it is sent (see `peers/turns.py`)."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name: str = self._heard()["name"]

    def once(self) -> tuple[Took, Any]:
        """How long the work took and what was found."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = self._heard()
        return Took(told["seconds"], told["cpu"]), told["found"]

    def took(self) -> Took:
        """How long the work took."""
        return self.once()[0]

    def stop(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise SystemExit(f"a peer ended: {self._process.args}")
        return json.loads(line)


@contextmanager
def program(command: Sequence[str]) -> Iterator[Program]:
    """A peer until the end of the block."""
    started = Program(command)
    try:
        yield started
    finally:
        started.stop()


class Service:
    """A server on loopback."""

    def __init__(self, process: int, port: int) -> None:
        self.process, self.port = process, port

    def cpu(self) -> float:
        """Seconds of processor time of the process and all below it, with those that have ended."""
        return sum(self.processes().values()) / os.sysconf("SC_CLK_TCK")

    def processes(self) -> dict[int, int]:
        """The process and all below it, each with its ticks of processor time and those of its ended children."""
        children: dict[int, list[int]] = {}
        used: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended
                continue
            number = int(stat.parent.name)
            children.setdefault(int(fields[1]), []).append(number)
            used[number] = sum(map(int, fields[11:15]))
        below, found = [self.process], {}
        while below:
            number = below.pop()
            found[number] = used.get(number, 0)
            below += children.get(number, [])
        return found


@contextmanager
def service(
    command: Sequence[str], home: str, folder: Path, variables: Mapping[str, str], settle: float
) -> Iterator[Service]:
    """A server until the end of the block; `{port}` in the command is a free one, `home` an address that it answers."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            words, cwd=folder, env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT
        )  # fmt: skip
        try:
            _await(process, port, home, folder)
            time.sleep(settle)
            yield Service(process.pid, port)
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def own_service(url: str, folder: Path, settle: float, workers: int = 1) -> Iterator[Service]:
    """MyoResponse as `serve` starts it, otherwise with the settings that it has by itself."""
    command = [sys.executable, "-m", "app", "serve", "--port", "{port}", "--workers", str(workers)]
    variables = {"MYORESPONSE_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    with service(command, "/livez", folder, variables, settle) as started:
        yield started


def _await(process: subprocess.Popen[bytes], port: int, home: str, folder: Path) -> None:
    for _ in range(3000):
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", home)
            if connection.getresponse().status < 500:
                return
        except (OSError, HTTPException):
            time.sleep(0.02)
        finally:
            connection.close()
        if process.poll() is not None:
            break
    raise SystemExit(f"a server did not start: {process.args}\n{(folder / f'{port}.log').read_text()[-2000:]}")
