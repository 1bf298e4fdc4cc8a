"""A standalone Spark cluster as processes on this machine: a master and two workers, started and stopped by number."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 120
MODULES = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.lang.invoke", "java.io", "java.net", "java.nio", "java.util",
                    "java.util.concurrent", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar")
]  # fmt: skip


def why_not() -> str | None:
    """Why there can be no cluster here."""
    if find_spec("pyspark") is None:
        return "no PySpark: make spark installs it into an environment of its own"
    return None if shutil.which("java") else "no Java"


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    master: str
    folder: Path
    workers: Sequence[subprocess.Popen]
    stack: ExitStack
    """Ends what runs when the cluster ends."""

    def derive(self, place: str, output: Path, *conf: str) -> subprocess.Popen:
        """Start `python -m app derive` on the cluster."""
        settings = ("spark.executor.memory=512m", "spark.driver.host=127.0.0.1", "spark.ui.enabled=false", *conf)
        command = ["derive", "--engine", "spark", "--master", self.master, "--input", place, "-o", str(output)]
        more = [part for setting in settings for part in ("--conf", setting)]
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *command, *more],
            env=_environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.stack.callback(_end, process)
        return process

    def executors(self) -> list[int]:
        """The processes that the workers started."""
        return [child for worker in self.workers for child in children(worker.pid)]


def children(parent: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with suppress(OSError):
                state, ppid = (place / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(ppid) == parent and state != "Z":
                    found.append(int(place.name))
    return found


@contextmanager
def cluster(folder: Path, memory: str = "600m") -> Iterator[Cluster]:
    """A cluster of two workers with a core each."""
    port = _free_port()
    address = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:
        master = stack.enter_context(
            _java(
                folder / "master.log", "master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"
            )
        )
        _wait(lambda: _listens(port), master)
        workers = [
            stack.enter_context(
                _java(folder / f"worker{number}.log", "worker.Worker", "--host", "127.0.0.1", "--webui-port", "0",
                      "-c", "1", "-m", memory, "-d", str(folder / f"work{number}"), address)
            )
            for number in range(2)
        ]  # fmt: skip
        for number, worker in enumerate(workers):
            log = folder / f"worker{number}.log"
            _wait(lambda log=log: "Successfully registered" in log.read_text(), worker)
        yield Cluster(address, folder, workers, stack)


@contextmanager
def _java(log: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen]:
    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    with log.open("w") as sink:
        process = subprocess.Popen(
            ["java", "-Xmx256m", *MODULES, "-cp", f"{jars}/*", f"org.apache.spark.deploy.{name}", *arguments],
            env=_environment(), stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    import pyspark

    home = Path(pyspark.__file__).parent
    return {
        **os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT}:{home.parent}", "SPARK_SCALA_VERSION": "2.13",
    }  # fmt: skip


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(ready, process: subprocess.Popen) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, "the process has ended"
        assert time.monotonic() < until, "the cluster does not start"
        time.sleep(0.2)
