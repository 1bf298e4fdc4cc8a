"""Sides that do the same work in turn, and what comes of it: rows of ratios, and figures under load."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Counts(NamedTuple):
    """How much of everything is measured."""

    pairs: int
    patients: int
    """Patients of a study, each with 100 results."""
    derived: int
    """Patients of the derivation: a multiple of 500."""
    seconds: float
    """How long a server is loaded at a time."""
    settle: float
    """How long a server may rest after its start: the statistics load in the background."""


FULL = Counts(pairs=5, patients=1_000, derived=100_000, seconds=4.0, settle=5.0)
QUICK = Counts(pairs=2, patients=200, derived=5_000, seconds=1.0, settle=2.0)


class Took(NamedTuple):
    """What one piece of work took: seconds, and seconds of processor time where they are known."""

    seconds: float
    cpu: float | None = None


@dataclass(frozen=True)
class Row:
    """How many times as fast as a peer; `skipped` says why it was not measured.

    `asked` is the least ratio that the design asks for, of the time or of the processor time (`by`).
    """

    name: str
    work: str
    peer: str
    pairs: Sequence[tuple[Took, Took]] = ()
    asked: float | None = None
    by: Literal["seconds", "cpu"] = "seconds"
    skipped: str | None = None

    def ratio(self, by: str) -> float | None:
        """The median over the pairs of the peer's time by ours."""
        times = self.ratios(by)
        return statistics.median(times) if times else None

    def ratios(self, by: str) -> list[float]:
        """The ratio of each pair; none where a side has no such time, or it was too short to be counted."""
        found = [(getattr(ours, by), getattr(theirs, by)) for ours, theirs in self.pairs]
        return [theirs / ours for ours, theirs in found] if all(all(pair) for pair in found) else []


class Load(NamedTuple):
    """What the clients of one kind saw: how long each request took, and in how many seconds all of them."""

    seconds: float
    latencies: Sequence[float]
    cpu: float | None = None
    """Processor time of the server for one request."""

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies) / self.seconds

    def slowest(self, share: float) -> float:
        """The time within which this share of the requests was answered."""
        ordered = sorted(self.latencies)
        return ordered[math.ceil(len(ordered) * share) - 1]


class Loaded(NamedTuple):
    """Clients of one kind: what they do, how many they are, and what they saw in each run."""

    name: str
    clients: int
    runs: Sequence[Load]

    def figure(self, of: Callable[[Load], float]) -> float:
        """The median over the runs."""
        return statistics.median(of(run) for run in self.runs)


class Measured(NamedTuple):
    """What one part of the command found."""

    rows: Sequence[Row]
    loads: Sequence[Loaded] = ()


def in_turn(pairs: int, *sides: Callable[[], Took]) -> list[tuple[Took, ...]]:
    """So many rounds of all sides, one after the other, every second round in the opposite order."""
    rounds = []
    for number in range(pairs):
        step = -1 if number % 2 else 1
        found = [side() for side in sides[::step]]
        rounds.append(tuple(found[::step]))
    return rounds


def took(work: Callable[[], object], times: int = 1) -> Took:
    """What doing this takes in this process, once; where it is done several times, the mean of these."""
    began, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return Took((time.perf_counter() - began) / times, (time.process_time() - used) / times)
