"""Two processes append to one file of heads, say what they wrote, and replace the file by a shorter one after each
tenth line. One of them is killed (SIGKILL, by strace) at the n-th system call of a kind, for many n. The file must then
be an old or a new one, whole, and each chain must have the last head that was written of it.
"""

import multiprocessing
import os
from pathlib import Path

from app.store.heads import ChainHead, HeadsFile
from tests.trust.figures import Figure
from tests.trust.ground import folder, need_strace, spread
from tests.trust.victim import in_child, traced

CALLS = {"openat": 40, "flock": 40, "write": 40, "fchmod": 6, "fsync": 10, "rename": 6}
"""Where the process is killed: the kind of call, and up to which one."""
LINES = 50


def run(full: bool) -> list[Figure]:
    """Append, kill and look."""
    need_strace()
    points = [(name, when) for name, most in CALLS.items() for when in spread(most, 20 if full else 2)]
    killed = written = 0
    with folder() as place:
        for number, (name, when) in enumerate(points):
            path = place / f"heads-{number}"
            other = multiprocessing.get_context("fork").Process(target=append, args=(path, 2, place / "other"))
            other.start()
            in_child(lambda path=path, name=name, when=when: _harmed(path, name, when, place / "harmed"))
            other.join()
            said = {chain: int((place / who).read_text()) for chain, who in ((1, "harmed"), (2, "other"))}
            killed += said[1] < LINES - 1
            written += sum(said.values()) + 2
            look(path, said)
            for leftover in ("harmed", "other"):
                (place / leftover).unlink()
    return [
        Figure(
            "P12",
            "kills of a process that replaces the file of heads while another one appends; heads written; lost",
            f"{killed} of {len(points)}; {written}; 0",
        )
    ]


def _heads(path: Path) -> HeadsFile:
    return HeadsFile(path, b"k" * 32, b"n" * 16)


def append(path: Path, chain: int, said: Path) -> None:
    """Append heads of a chain. The number of the last one is in the file `said` after it was written."""
    heads = _heads(path)
    descriptor = os.open(said, os.O_CREAT | os.O_RDWR, 0o600)
    os.pwrite(descriptor, b"-1   ", 0)
    for number in range(LINES):
        heads.write({("study", chain): ChainHead(number, bytes([number]) * 32)})
        os.pwrite(descriptor, f"{number:<5}".encode(), 0)
        if number % 10 == 9:
            heads.compact(lambda _: True)


def _harmed(path: Path, name: str, when: int, said: Path) -> None:
    said.write_text("-1   ")
    with traced("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={when}"):
        append(path, 1, said)


def look(path: Path, said: dict[int, int]) -> None:
    """The file is whole and has what was said. It can be replaced again, whatever the killed process left."""
    heads = _heads(path)
    for _ in range(2):
        lines = list(heads.lines()) if path.exists() else []
        last: dict[int, int] = {}
        for line in lines:
            assert not isinstance(line, str), line
            last[line.chain[1]] = max(line.head.number, last.get(line.chain[1], -1))
        for chain, number in said.items():
            assert number <= last.get(chain, -1) <= number + 1, (
                f"a head is lost: {said} was written, the file has {last}"
            )
        if path.exists():
            heads.compact(lambda _: True)
            assert len(list(heads.lines())) == len(last)
