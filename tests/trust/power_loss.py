"""The system calls of a process that writes are recorded with every byte (strace). Then the power is cut at random
moments of the record: what was not yet brought to the disk (`fdatasync`) is dropped write by write, kept, or torn at a
sector of 512 bytes. Each image of the disk is opened as after a restart. Directory entries are kept, and the disk is
taken to be honest. The control records the same with `synchronous=NORMAL` and must lose acknowledged writes.
"""

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.trust.figures import Figure
from tests.trust.ground import folder, found, fresh, harmed, need_strace

SECTOR = 512
_CALL = re.compile(rb"^(?:\d+ +)?(\w+)\((\d+)<([^>]*)>(?:, (.*))?\) = (-?\d+)")
_DATA = re.compile(rb'^"((?:\\x[0-9a-f]{2})*)", (\d+)(?:, (\d+))?$')


@dataclass(slots=True)
class Call:
    """A recorded call: bytes written to a file, a new length, a file brought to the disk, or an acknowledgement."""

    name: str
    file: str
    at: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Disk:
    """The files as the disk surely has them, and what was written to each since it was last brought to the disk."""

    files: dict[str, bytearray]
    pending: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    def take(self, call: Call) -> None:
        """One more call."""
        self.pending[call.file].append(call)
        if call.name == "sync":
            for each in self.pending.pop(call.file):
                _apply(self.files, each)

    def cut(self, chance: random.Random) -> dict[str, bytearray]:
        """The files after the power went: each pending call was done, not done, or done in part."""
        files = {name: bytearray(content) for name, content in self.files.items()}
        kept = chance.choice((0.0, 0.5, 0.9, 1.0))
        for calls in self.pending.values():
            for call in calls:
                if chance.random() < kept:
                    torn = chance.random() < 0.1 and len(call.data) > SECTOR
                    until = SECTOR * chance.randrange(1, -(-len(call.data) // SECTOR)) if torn else len(call.data)
                    _apply(files, Call(call.name, call.file, call.at, call.data[:until]))
        return files


def run(full: bool) -> list[Figure]:
    """Record and cut."""
    need_strace()
    traces, images, writes = (2, 500, 60) if full else (1, 60, 12)
    strict = [_lost(images, writes, "FULL", seed) for seed in range(traces)]
    lost = sum(each[0] for each in strict)
    assert lost == 0, f"{lost} images lost acknowledged writes"
    control, most = _lost(images, writes, "NORMAL", 0)
    assert control, "synchronous=NORMAL should lose acknowledged writes: this test sees nothing"
    return [
        Figure("P2", "power cuts in a record of system calls (SQLite), each image opened", str(traces * images)),
        Figure("P2", "images with a lost acknowledged write", str(lost)),
        Figure("P2", "images that were damaged, or had a write by halves", "0"),
        Figure(
            "P2", "control with `synchronous=NORMAL`: images with lost writes (must be more than 0); most lost in one",
            f"{control} of {images}; {most}",
        ),
    ]  # fmt: skip


def _lost(images: int, writes: int, synchronous: str, seed: int) -> tuple[int, int]:
    """How many images lost acknowledged writes, and the most that one lost. Raises for a damaged image."""
    chance = random.Random(seed)
    with folder() as place:
        file = place / "x.db"
        url = fresh(file)
        start = {str(file): bytearray(file.read_bytes())}
        trace = place / "trace"
        harmed("recorded", url, str(trace), synchronous, writes)
        calls = list(_read(trace))
        assert sum(call.name == "ack" for call in calls) == writes
        moments = sorted(chance.randrange(len(calls)) for _ in range(images))
        disk, acks, done, lost, most = Disk(start), set[int](), 0, 0, 0
        for moment in moments:
            for call in calls[done:moment]:
                if call.name == "ack":
                    acks.add(call.at)
                else:
                    disk.take(call)
            done = moment
            missing = acks - _opened(place / "image", disk.cut(chance))
            lost += bool(missing)
            most = max(most, len(missing))
    return lost, most


def _opened(image: Path, files: dict[str, bytearray]) -> set[int]:
    """The patients of an image after a restart."""
    shutil.rmtree(image, ignore_errors=True)
    image.mkdir()
    for name, content in files.items():
        if not name.endswith("-shm"):  # in memory only
            (image / Path(name).name).write_bytes(content)
    numbers, halves = found(image / "x.db")
    assert halves == 0, "a write is there by halves"
    return numbers


def _read(trace: Path) -> Iterator[Call]:
    """The calls of a record, in their order."""
    for line in trace.read_bytes().splitlines():
        match = _CALL.match(line)
        if match is None:
            assert not re.search(rb"(pwrite64|fdatasync|fsync|ftruncate)\(", line), line[:200]
            continue
        name, path, rest, result = match[1].decode(), _text(match[3]), match[4] or b"", int(match[5])
        assert result >= 0, line[:200]
        if name in {"fdatasync", "fsync"}:
            yield Call("sync", path)
        elif name == "ftruncate":
            yield Call("length", path, int(rest))
        elif name == "pwrite64":
            data = _DATA.match(rest)
            assert data is not None, line[:200]
            assert result == int(data[2]), "a part was written"
            yield Call("write", path, int(data[3]), _bytes(data[1]))
        elif name == "write" and match[2] == b"1":
            data = _DATA.match(rest)
            assert data is not None
            yield Call("ack", "", int(_bytes(data[1]).split()[1]))


def _bytes(written: bytes) -> bytes:
    return bytes.fromhex(written.replace(b"\\x", b"").decode())


def _text(path: bytes) -> str:
    return _bytes(path).decode() if path.startswith(b"\\x") else path.decode()


def _apply(files: dict[str, bytearray], call: Call) -> None:
    content = files.setdefault(call.file, bytearray())
    if call.name == "length":
        del content[call.at :]
        content.extend(bytes(call.at - len(content)))
    elif call.name == "write":
        content.extend(bytes(max(0, call.at - len(content))))
        content[call.at : call.at + len(call.data)] = call.data
