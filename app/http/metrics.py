"""What the service measures of itself, in the text format of Prometheus.

No label has a value that was sent: each is from a closed set, such as the templates of routes, the kinds of problems
and the codes of faults. Requests are counted where they are answered (`AccessLog`). What the database holds is read
from it, so that it includes what other processes stored, such as the listener for MLLP. If it does not answer in time,
the last known counts are given and `myoresponse_database_up` is 0.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from app import __version__
from app.access.computing import REASONS
from app.errors import Cause, ServiceError
from app.http.state import AppState
from app.store.tables import SCHEMA_REVISION
from app.store.totals import Totals, totals

MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""The upper bounds of the durations that are counted together."""
PATIENCE = 2.0
"""Seconds that the database has to say what it holds; Prometheus itself waits for ten."""

# Each counter would else have a second series with the time when it was made.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped


Series = tuple[Counter, Histogram, Counter, Counter]


@dataclass(slots=True)
class Traffic:
    """The bytes of the bodies of one request and its answer."""

    received: int = 0
    sent: int = 0


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        of_request = ("route", "method")
        self._requests = Counter(
            "myoresponse_http_requests", "Answered requests.", (*of_request, "status"), registry=registry
        )
        self._seconds = Histogram(
            "myoresponse_http_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            of_request,
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "myoresponse_http_requests_in_flight", "Requests whose answer has not ended.", registry=registry
        )
        self._received = Counter(
            "myoresponse_http_received_bytes", "Bytes of the bodies of requests.", of_request, registry=registry
        )
        self._sent = Counter(
            "myoresponse_http_sent_bytes", "Bytes of the bodies of answers.", of_request, registry=registry
        )
        self._refusals = Counter(
            "myoresponse_http_refusals",
            "Refused requests, by the kind of the problem.",
            ("problem",),
            registry=registry,
        )
        self._faults = Counter(
            "myoresponse_faults", "Faults of what was refused, also of single items.", ("code",), registry=registry
        )
        Info("myoresponse_build", "The running software.", registry=registry).info(
            {"version": __version__, "tables": SCHEMA_REVISION, "python": sys.version.split()[0]}
        )
        ProcessCollector(registry=registry)
        self._totals = Totals(0, 0, {})
        self._kinds: dict[tuple[str, str, int], Series] = {}

    def count(
        self, scope: Mapping[str, Any], route: str, method: str, status: int, seconds: float, traffic: Traffic
    ) -> None:
        """Count a request after the end of its answer."""
        requests, durations, received, sent = self._of_kind(route, method, status // 100)
        requests.inc()
        durations.observe(seconds)
        if traffic.received:
            received.inc(traffic.received)
        sent.inc(traffic.sent)
        if problem := scope.get("myoresponse.problem"):
            self._refusals.labels(problem).inc()
        faults: Mapping[str, int] = scope.get("myoresponse.faults", {})
        for code, count in faults.items():
            self._faults.labels(code).inc(count)

    def _of_kind(self, route: str, method: str, hundreds: int) -> Series:
        """The series of one kind of request; to look for them by their labels takes as long as to count."""
        kind = (route, method, hundreds)
        if kind not in self._kinds:
            self._kinds[kind] = (
                self._requests.labels(route, method, f"{hundreds}xx"),
                self._seconds.labels(route, method),
                self._received.labels(route, method),
                self._sent.labels(route, method),
            )
        return self._kinds[kind]

    async def exposition(self, state: AppState) -> bytes:
        """All metrics as text."""
        up = False
        with anyio.move_on_after(PATIENCE):
            up = await anyio.to_thread.run_sync(
                self._look, state, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        now = CollectorRegistry()
        now.register(Present(state, up, self._totals))
        return generate_latest(self.registry) + generate_latest(now)

    def _look(self, state: AppState) -> bool:
        """Read what the database holds. `False` if it cannot serve; it may still be read."""
        up = state.readiness.objection() is None
        try:
            with state.database.reading() as connection:
                self._totals = totals(connection)
        except ServiceError:
            return False
        return up


class Present(Collector):
    """What is read at the moment when the metrics are asked for."""

    def __init__(self, state: AppState, up: bool, totals: Totals) -> None:
        self._state = state
        self._up = up
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        answers = self._state.answers
        yield GaugeMetricFamily("myoresponse_database_up", "1 if the database can serve.", int(self._up))
        computing = self._state.computing
        yield GaugeMetricFamily(
            "myoresponse_questions_waiting", "Questions that wait for a worker.", computing.queue.waiting()
        )
        yield GaugeMetricFamily(
            "myoresponse_questions_running", "Questions that are computed.", computing.queue.running()
        )
        stopped = CounterMetricFamily(
            "myoresponse_questions_stopped", "Questions that were stopped while they were computed.", labels=["reason"]
        )
        for reason in REASONS:
            stopped.add_metric([reason], computing.workers.stopped[reason])
        yield stopped
        failures = CounterMetricFamily(
            "myoresponse_database_failures", "Failures of the database in this process.", labels=["cause"]
        )
        for cause in Cause:
            failures.add_metric([cause], self._state.database.failures.counts[cause])
        yield failures
        lookups = CounterMetricFamily("myoresponse_answer_lookups", "Looks for a kept answer.", labels=["result"])
        lookups.add_metric(["hit"], answers.hits)
        lookups.add_metric(["miss"], answers.misses)
        yield lookups
        yield GaugeMetricFamily("myoresponse_answer_bytes", "Bytes of the kept answers.", answers.size)
        yield GaugeMetricFamily("myoresponse_studies", "Studies in the database.", self._totals.studies)
        yield CounterMetricFamily("myoresponse_revisions", "Revisions in the database.", self._totals.revisions)
        facts = CounterMetricFamily(
            "myoresponse_intake_facts",
            "Facts that were sent, by what happened to them.",
            labels=["sender", "format", "disposition"],
        )
        for labels, count in self._totals.facts.items():
            facts.add_metric(labels, count)
        yield facts
