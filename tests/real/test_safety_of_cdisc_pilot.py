"""Adverse events of a public trial by arm, and the time to the first CK above its limit, against figures computed from
the tables in plain Python (and by R where it is installed).

The figures written here are those of the tables as their publishers have them; they hold without R. A patch that was
put on is an infusion here: the first one is day 0.
"""

import csv
import io
import json
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.derive.ck_normality import ABNORMAL, NORMAL, UNKNOWN
from app.derive.per_patient import first_where, last_where, pick_int
from app.derive.study import DerivedStudy
from app.estimate.times.survival import kaplan_meier
from app.protocol.model import Protocol, Treatment
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.timeline.cohort import Cohort
from app.timeline.times import latest_acceptable
from tests.journeys.conftest import service
from tests.real import sources

ARMS = ("Pbo", "Xan_Lo", "Xan_Hi")
PROTOCOL = Protocol(
    **{name: getattr(SEED_2008, name) for name in Protocol.model_fields}
    | {"id": "patches", "treatment": Treatment(products=("PLACEBO", "XANOMELINE"), course_gap_days=365)}
)
RELATIONS = {"NONE": "unrelated", "REMOTE": "unlikely", "POSSIBLE": "possible", "PROBABLE": "probable"}
NOW = latest_acceptable(datetime(2020, 1, 1, tzinfo=UTC))

# arm: patients, with an event, events, serious events, days of follow-up
COUNTS: dict[str, tuple[int, ...]] = {
    "Pbo": (45, 34, 132, 0, 6720),
    "Xan_Lo": (45, 40, 232, 1, 4482),
    "Xan_Hi": (37, 36, 194, 1, 4318),
}
# arm: at risk, events, first event on day, last event on day, S after it
SURVIVAL: dict[str, tuple[float, ...]] = {
    "Pbo": (42, 5, 27, 174, 0.852273),
    "Xan_Lo": (38, 3, 27, 139, 0.852209),
    "Xan_Hi": (31, 6, 33, 183, 0.654470),
}


@dataclass(frozen=True)
class Event:
    """One row of the table of adverse events; of an onset that is no full date only what was written is known."""

    number: str
    written: str
    term: str
    severity: str
    serious: bool
    relation: str

    @property
    def onset(self) -> date | None:
        return date.fromisoformat(self.written) if len(self.written) == len("2014-01-03") else None

    def before(self, first: date) -> bool:
        return self.written < first.isoformat()[: len(self.written)]


@dataclass(frozen=True)
class Subject:
    """One patient: arm, first days of dosing periods, CK as (day, value, upper limit), events."""

    id: str
    arm: str
    dosed: list[tuple[date, str]]
    ck: list[tuple[date, float, float]]
    events: list[Event]

    @property
    def first(self) -> date:
        return min(day for day, _ in self.dosed)

    @property
    def on_treatment(self) -> list[Event]:
        return [event for event in self.events if not event.before(self.first)]

    @property
    def days(self) -> int:
        """From the first dose to the last thing known, both counted."""
        onsets = [event.onset for event in self.on_treatment if event.onset]
        return (max([day for day, _ in self.dosed] + [day for day, _, _ in self.ck] + onsets) - self.first).days + 1


def read_subjects() -> list[Subject]:
    """The tables, straight from the files."""
    people = sources.rows("cdisc_pilot", "dm.csv")
    subjects = {row["USUBJID"]: Subject(row["USUBJID"], row["ACTARMCD"], [], [], []) for row in people}
    for row in sources.rows("cdisc_pilot", "ex.csv"):
        subjects[row["USUBJID"]].dosed.append((date.fromisoformat(row["EXSTDTC"]), row["EXTRT"]))
    for row in sources.rows("cdisc_pilot", "lb.csv"):
        if row["LBTESTCD"] == "CK":
            at = date.fromisoformat(row["LBDTC"][:10])
            subjects[row["USUBJID"]].ck.append((at, float(row["LBORRES"]), float(row["LBORNRHI"])))
    for row in sources.rows("cdisc_pilot", "ae.csv"):
        subjects[row["USUBJID"]].events.append(
            Event(row["AESEQ"], row["AESTDTC"], row["AETERM"], row["AESEV"].lower(), row["AESER"] == "Y", row["AEREL"])
        )
    return list(subjects.values())


def timeline(subject: Subject) -> dict[str, Any]:
    """What the sender of this patient would post; an event that cannot be told to be earlier comes without an onset."""
    return {
        "patient": {"id": subject.id},
        "labs": [
            {"code": "CK", "time": day.isoformat(), "value": value, "unit": "U/L", "upper_limit": limit}
            for day, value, limit in subject.ck
        ],
        "infusions": [{"time": day.isoformat(), "product": product} for day, product in subject.dosed],
        "adverse_events": [
            {
                "id": event.number,
                "onset": None if event.onset is None else event.onset.isoformat(),
                "term": event.term,
                "severity": event.severity,
                "serious": event.serious,
                "related": RELATIONS[event.relation],
            }
            for event in subject.events
            if event.onset or not event.before(subject.first)
        ],
    }


def address(arm: str) -> str:
    """The name of the study of an arm."""
    return arm.lower().replace("_", "-")


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """All patients."""
    return read_subjects()


@pytest.fixture(scope="module")
def client(subjects: list[Subject], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A study for each arm, posted as a sender would."""
    file = tmp_path_factory.mktemp("pilot") / "x.db"
    with service(f"sqlite:///{file}") as client:
        for arm in ARMS:
            declared = {"name": arm, "protocol": PROTOCOL.model_dump(mode="json"), "identifiers": "pseudonyms"}
            assert client.put(f"/v1/studies/{address(arm)}", json=declared).status_code == 201
            body = json.dumps([timeline(subject) for subject in subjects if subject.arm == arm])
            headers = {"content-type": "application/json"}
            answer = client.post(f"/v1/studies/{address(arm)}/timelines", content=body, headers=headers)
            assert "rejected" not in answer.json()["counts"], answer.text[:2000]
        yield client


@pytest.fixture(scope="module")
def safety(client: TestClient) -> Callable[[str], dict[str, Any]]:
    """The answer for an arm, on all events whatever their relation."""
    known: dict[str, dict[str, Any]] = {}

    def asked(arm: str) -> dict[str, Any]:
        if arm not in known:
            known[arm] = client.get(f"/v1/studies/{address(arm)}/analyses/safety", params={"events": "all"}).json()
        return known[arm]

    return asked


# --- the same in plain Python -----------------------------------------------------------------------------------------


def crossing(decreasing: Callable[[float], float], wanted: float, high: float) -> float:
    """Where a decreasing function has a value, by halving."""
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if decreasing(middle) > wanted else (low, middle)
    return low


def binomial_limits(k: int, n: int) -> tuple[float, float]:
    def at_most(k: int, rate: float) -> float:
        return math.fsum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k + 1))

    low = crossing(lambda rate: at_most(k - 1, rate), 0.975, 1.0) if k else 0.0
    return low, crossing(lambda rate: at_most(k, rate), 0.025, 1.0) if k < n else 1.0


def poisson_limits(events: int, exposure: float) -> tuple[float, float]:
    def at_most(k: int, mean: float) -> float:
        return math.fsum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(k + 1))

    low = crossing(lambda mean: at_most(events - 1, mean), 0.975, 1000.0) if events else 0.0
    return low / exposure, crossing(lambda mean: at_most(events, mean), 0.025, 1000.0) / exposure


def to_first_high(subject: Subject) -> tuple[int, bool] | None:
    """Days to the first CK above its own limit, or to the last CK; None of who had a high CK before, or none after."""
    before = [each for each in sorted(subject.ck) if each[0] <= subject.first]
    after = [each for each in sorted(subject.ck) if each[0] > subject.first]
    if not before or before[-1][1] > before[-1][2] or not after:
        return None
    high = [day for day, value, limit in after if value > limit]
    return ((min(high) if high else after[-1][0]) - subject.first).days, bool(high)


def product_limit(pairs: list[tuple[int, bool]]) -> list[tuple[int, int, int, Fraction]]:
    survival, curve = Fraction(1), []
    for time in sorted({time for time, event in pairs if event}):
        at_risk = sum(duration >= time for duration, _ in pairs)
        events = sum(duration == time and event for duration, event in pairs)
        survival *= 1 - Fraction(events, at_risk)
        curve.append((time, at_risk, events, survival))
    return curve


# --- what is compared -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS)
def test_patients_with_events_and_rates_of_an_arm_are_those_of_the_tables(arm, subjects, safety):
    mine = [subject for subject in subjects if subject.arm == arm]
    events = [event for subject in mine for event in subject.on_treatment]
    found = safety(arm)
    [count] = found["results"]
    with_event = sum(bool(subject.on_treatment) for subject in mine)
    counted = (count["safety"], count["patients_with_event"], count["events"], count["serious_events"])
    days = sum(subject.days for subject in mine)

    assert (*counted, days) == COUNTS[arm]
    assert counted == (len(mine), with_event, len(events), sum(event.serious for event in events))
    exact = count["intervals"][0]
    assert (exact["low"], exact["high"]) == pytest.approx(binomial_limits(with_event, len(mine)), rel=1e-9)
    for of, number in (("events", len(events)), ("serious_events", counted[3])):
        row = next(r for r in found["rates"] if (r["of"], r["per"]["unit"]) == (of, "patient-year"))
        [interval] = row["per"]["intervals"]
        assert row["per"]["events"] == number
        assert row["per"]["exposure"] == pytest.approx(days / 365.25, rel=1e-9)
        assert (interval["low"], interval["high"]) == pytest.approx(poisson_limits(number, days / 365.25), rel=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_terms_and_severities_of_an_arm_are_those_of_the_tables(arm, subjects, safety):
    mine = [subject.on_treatment for subject in subjects if subject.arm == arm]
    [count] = safety(arm)["results"]
    had = Counter(term for events in mine for term in {event.term for event in events})
    times = Counter(event.term for events in mine for event in events)
    ranked = sorted(had, key=lambda term: (-had[term], -times[term], term))

    assert [(row["term"], row["patients"], row["events"]) for row in count["by_term"]] == [
        (term, had[term], times[term]) for term in ranked
    ]
    scale = ["mild", "moderate", "severe"]
    worst = Counter(max((event.severity for event in events), key=scale.index) for events in mine if events)
    assert {row["severity"]: row["patients"] for row in count["by_severity"] if row["patients"]} == dict(worst)


@pytest.mark.parametrize("arm", ARMS)
def test_the_interval_that_lets_patients_differ_is_that_of_the_tables(arm, subjects, safety):
    from scipy.stats import t

    mine = [(len(subject.on_treatment), subject.days) for subject in subjects if subject.arm == arm]
    events, days, m = sum(e for e, _ in mine), sum(d for _, d in mine), len(mine)
    variance = m / (m - 1) * sum((e - events / days * d) ** 2 for e, d in mine) / events**2
    row = next(r for r in safety(arm)["rates"] if (r["of"], r["per"]["unit"]) == ("events", "patient-year"))
    half = t.ppf(0.975, m - 1) * math.sqrt(variance)
    rate = events / days * 365.25
    wanted = rate * math.exp(-half), rate * math.exp(half)
    assert (row["clustered"]["low"], row["clustered"]["high"]) == pytest.approx(wanted, rel=1e-9)
    [exact] = row["per"]["intervals"]
    assert row["clustered"]["low"] < exact["low"] < exact["high"] < row["clustered"]["high"]


def time_to_first_high(arm: str, subjects: list[Subject]) -> Any:
    """By the service's own derivations and estimator."""
    made = [json.dumps(timeline(subject)).encode() for subject in subjects if subject.arm == arm]
    study = DerivedStudy(Cohort.of_histories([read_timeline(each, NOW) for each in made]), PROTOCOL)
    records, known = study.analysis_values("CK"), study.ck_known
    assert not (known == UNKNOWN).any()
    after = records.day > 0
    high = first_where(records.patient, records.size, after & (known == ABNORMAL))
    last = last_where(records.patient, records.size, after)
    normal = pick_int(known, study.weeks("CK")[0], UNKNOWN) == NORMAL
    time = np.where(high >= 0, pick_int(records.day, high, 0), pick_int(records.day, last, 0))
    kept = normal & (last >= 0)
    return kaplan_meier(time[kept], (high >= 0)[kept])


@pytest.mark.parametrize("arm", ARMS)
def test_the_time_to_the_first_high_ck_of_an_arm_is_that_of_the_tables(arm, subjects):
    found = time_to_first_high(arm, subjects)
    pairs = [pair for subject in subjects if subject.arm == arm if (pair := to_first_high(subject))]
    curve = product_limit(pairs)

    assert (found.n, found.events, curve[0][0], curve[-1][0]) == SURVIVAL[arm][:4]
    assert float(curve[-1][3]) == pytest.approx(SURVIVAL[arm][4], abs=5e-7)
    assert [(point.time, point.at_risk, point.events) for point in found.curve[1:]] == [row[:3] for row in curve]
    assert [point.survival for point in found.curve[1:]] == pytest.approx([float(row[3]) for row in curve], rel=1e-12)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed; the figures above are stored")
@pytest.mark.parametrize("arm", ARMS)
def test_r_finds_the_same_curve_and_the_same_interval(arm, subjects, safety):
    table = io.StringIO()
    rows = csv.writer(table)
    pairs = [pair for subject in subjects if subject.arm == arm if (pair := to_first_high(subject))]
    rows.writerows([("time", "event"), *((time, int(event)) for time, event in pairs)])
    count = safety(arm)["results"][0]
    days = next(r for r in safety(arm)["rates"] if r["per"]["unit"] == "patient-year")["per"]["exposure"]
    script = (
        "library(survival); d <- read.csv(file('stdin')); s <- survfit(Surv(time, event) ~ 1, d, conf.type='log-log');"
        "k <- s$n.event > 0; cat(s$surv[k], s$lower[k], '\\n');"
        f"cat(poisson.test({count['events']}, {days})$conf.int)"
    )
    command = ["Rscript", "-e", script]
    printed = subprocess.run(command, input=table.getvalue(), capture_output=True, text=True, check=True)
    curve, limits = ([float(each) for each in line.split()] for line in printed.stdout.splitlines())
    found = time_to_first_high(arm, subjects).curve[1:]
    assert curve == pytest.approx([p.survival for p in found] + [p.low for p in found], rel=1e-5)
    row = next(r for r in safety(arm)["rates"] if r["per"]["unit"] == "patient-year")["per"]["intervals"][0]
    assert limits == pytest.approx([row["low"], row["high"]], rel=1e-5)
