"""What a receipt says is what the timeline then shows: in every format, in every order of arrival."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.main import create_app
from app.settings import Settings
from tests.feeds.receipt_writers import FORMATS, Answer, Reply, Request, Said, Statement
from tests.feeds.writers import LOINC
from tests.postgres import fresh_database
from tests.repetition import repeats
from tests.tables import with_tables

# What a laboratory says

MINUTES = ("2020-01-02T10:00:00+09:00", "2020-01-02T11:00:00+09:00")
TIMES = ("2020-01-04T10:00:00+09:00", "2020-01-02", "2020-01-04T02:00:00Z")
ISSUES = ("2020-01-05T08:00:00+09:00", "2020-01-06T08:00:00+09:00", "2020-01-07T08:00:00+09:00")


STATUSES = ("final", "final", "preliminary", "amended", "corrected", "corrected", "cancelled", "entered-in-error")


@st.composite
def _statements(draw: st.DrawFn) -> Statement:
    """Mostly about one number of one patient, so that statements meet."""
    said = Statement(
        draw(st.sampled_from((*["P1"] * 6, "P2"))),
        draw(st.sampled_from((*["CK"] * 8, "LDH", "SODIUM"))),
        draw(st.sampled_from((*MINUTES, *MINUTES, *TIMES))),
        draw(st.sampled_from((100, 200.5, 300, 400, 500, "HEMOLYZED"))),
        draw(st.sampled_from((*["U/L"] * 14, "ukat/L", "furlong"))),
        draw(st.sampled_from((170, 170, None))),
        draw(st.sampled_from(STATUSES)),
        draw(st.sampled_from((None, *ISSUES))),
        draw(st.sampled_from((*["n1"] * 5, "n2", None))),
        draw(st.sampled_from((None, None, None, 1, 2))),
        draw(st.sampled_from((*[None] * 5, "<"))),
    )
    if said.number is not None:  # without one, the laboratory would identify the result, where a format has a place
        said = replace(said, laboratory="Central")
    if said.withdraws and draw(st.booleans()):
        return replace(said, value=None, unit=None, upper_limit=None, comparator=None)
    return said if not isinstance(said.value, str) else replace(said, comparator=None, unit=None, upper_limit=None)


Delivery = tuple[str, tuple[Statement, ...]]
SUBMISSIONS = st.lists(
    st.tuples(st.sampled_from(sorted(FORMATS)), st.lists(_statements(), min_size=1, max_size=3).map(tuple)),
    min_size=2,
    max_size=6,
)
"""What is sent, one after the other: the format, and what is in it."""


# What is sent and what is shown


class Row(NamedTuple):
    """A result as a timeline shows it; times as instants, so that their spelling does not matter."""

    patient: str
    code: str
    time: str
    value: float
    comparator: str | None
    unit: str
    upper_limit: float | None
    status: str
    issued: str | None
    number: str | None
    version: int | None
    laboratory: str | None


def moment(at: str | None) -> str | None:
    """A time in one spelling, with `Z` if it is written so; a date stays a date."""
    if at is None or "T" not in at:
        return at
    return f"{datetime.fromisoformat(at).timestamp()}{'Z' * at.endswith('Z')}"


def instant(at: str | None) -> str | None:
    """A time of issue, which is shown in UTC."""
    return str(moment(at)).removesuffix("Z")


def row_of(each: Statement) -> Row:
    return Row(
        each.patient, each.code, str(moment(each.time)), each.value, each.comparator, each.unit,  # type: ignore[arg-type]
        each.upper_limit, each.status, instant(each.issued), each.number, each.version, each.laboratory,
    )  # fmt: skip


class Trial:
    """A study, and everything that was sent to it."""

    def __init__(self, client: TestClient, study: str) -> None:
        self.client, self.study = client, study
        declared = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms", "time_zone": "Asia/Tokyo"}
        assert client.put(f"/v1/studies/{study}", json=declared).status_code == 201

    def shown(self) -> Counter[Row]:
        """The results of both patients."""
        return Counter(row for patient in ("P1", "P2") for row in self._shown(patient))

    def _shown(self, patient: str) -> Iterator[Row]:
        answer = self.client.get(f"/v1/studies/{self.study}/patients/{patient}")
        assert answer.status_code in {200, 404}
        for lab in answer.json()["labs"] if answer.status_code == 200 else ():
            yield Row(
                patient, lab["code"], str(moment(lab["time"])), lab["value"], lab.get("comparator"), lab["unit"],
                lab.get("upper_limit"), lab["status"], instant(lab.get("issued")), lab.get("id"), lab.get("version"),
                lab.get("lab"),
            )  # fmt: skip

    def send(self, request: Request) -> Reply:
        """Send one request, and ask for the whole receipt."""
        answer = self.client.post(
            request.path.format(study=self.study) + "?receipt=full",
            content=request.body,
            headers={"content-type": request.media_type},
        )
        return Reply(answer.status_code, answer.text)

    def revision(self) -> int:
        """The latest revision."""
        number: int = self.client.get(f"/v1/studies/{self.study}").json()["revision"]
        return number


# What must be true of each answer

Place = tuple[str, str, bool]


def check_one_after_the_other(
    said: Sequence[tuple[Statement, Said]], before: Counter[Row], after: Counter[Row]
) -> None:
    """The same where each statement is an entry of a bundle: a later one may undo what the line of an earlier one says,
    and says so.
    """
    change = Counter((row.code, row.time) for row in after.elements())
    change.subtract((row.code, row.time) for row in before.elements())
    later: Counter[Place] = Counter()
    for each, line in reversed(said):
        place = each.code, str(moment(each.time))
        if not (later[*place, True] or later[*place, False]):
            check_statement(each, line, before, after)
        later.update((effect.code, str(moment(effect.time)), effect.stands) for effect in line.effects)
        if is_result(each) and line.disposition == "kept" and "unchanged" not in line.notes:
            change[place] -= 1
    for (code, time, stands), count in later.items():
        change[code, time] -= count if stands else -count
    assert not +change
    assert not -change


def is_result(each: Statement) -> bool:
    """Whether a timeline may show it."""
    return not each.withdraws and not isinstance(each.value, str)


def check(said: Sequence[tuple[Statement, Said]], before: Counter[Row], after: Counter[Row]) -> None:
    """What an answer says of the statements that were sent is what the timeline shows after it."""
    for each, line in said:
        check_statement(each, line, before, after)
    sent = {row_of(each) for each, _ in said if not isinstance(each.value, str)}
    unexplained = Counter(
        (row.code, row.time, stands)
        for rows, stands in ((after - before, True), (before - after, False))
        for row in rows.elements()
        if row not in sent
    )
    effects = Counter(
        (effect.code, str(moment(effect.time)), effect.stands) for _, line in said for effect in line.effects
    )
    assert effects == unexplained
    come = {row for row in after - before if row in sent}
    assert come <= {row_of(each) for each, line in said if line.disposition == "kept"}


def check_statement(each: Statement, line: Said, before: Counter[Row], after: Counter[Row]) -> None:
    row = row_of(each)
    ours = each.code in LOINC
    assert (line.disposition == "not_ours") == (not ours and line.disposition != "refused"), line
    if each.withdraws:
        if line.disposition == "kept":
            assert not [shown for shown in after if _is_withdrawn(each, shown)], (each, line)
        return
    if isinstance(each.value, str):
        assert line.disposition in {"set_aside", "not_applied", "not_ours", "refused"}, (each, line)
        return
    stood = line.disposition in {"set_aside", "refused"} and row in before  # an equal statement was kept before
    assert (line.disposition == "kept" or stood) == (row in after), (each, line)
    if line.disposition != "kept":
        assert line.reason is not None or line.disposition == "refused"
        return
    assert ("no_upper_limit" in line.notes) == (each.upper_limit is None)
    assert ("bound" in line.notes) == (each.comparator is not None)
    assert ("utc_day" in line.notes) == each.time.endswith("Z")
    assert ("unchanged" in line.notes) == (row in before)


def _is_withdrawn(each: Statement, shown: Row) -> bool:
    """Whether a withdrawal that was applied is about a result that is shown."""
    if (each.patient, each.code, each.number) != (shown.patient, shown.code, shown.number):
        return False
    return instant(each.time) == shown.time.removesuffix("Z")


def deliver(trial: Trial, name: str, statements: Sequence[Statement]) -> list[tuple[Answer, Sequence[Statement]]]:
    """Send statements in a format, check each answer, and return the answers."""
    form = FORMATS[name]
    distinct = list(dict.fromkeys(form.said(each) for each in statements))
    answers, after = [], trial.shown()
    for request in form.write(distinct):
        before = after
        reply = trial.send(request)
        answer = form.read(reply, request, distinct)
        after = trial.shown()
        said = [(distinct[at], answer.at(at)) for at in request.holds]
        assert answer.counts.total() == len(request.holds), reply
        assert +answer.counts == Counter(line.disposition for _, line in said), reply
        (check_one_after_the_other if name in {"batch", "transaction"} else check)(said, before, after)
        answers.append((answer, distinct))
    return answers


# The tests


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Trial]]:
    """Studies without number, in one SQLite database."""
    folder = tmp_path_factory.mktemp("receipts")
    yield from _places(f"sqlite:///{folder / 'x.db'}", folder)


@pytest.fixture(scope="module")
def postgres_places(
    postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Trial]]:
    """The same in PostgreSQL."""
    with fresh_database(postgres_server_url) as url:
        yield from _places(url, tmp_path_factory.mktemp("receipts"))


def _places(url: str, folder: Path) -> Iterator[Callable[[], Trial]]:
    with_tables(url)
    settings = Settings(database_url=url, secret_file=folder / "secret", heads_file=folder / "heads")
    numbers = itertools.count()
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield lambda: Trial(client, f"trial-{next(numbers)}")


def _the_receipts_say_what_stands(trial: Trial, submissions: Sequence[Delivery]) -> None:
    for name, statements in submissions:
        deliver(trial, name, statements)


@given(SUBMISSIONS)
@settings(max_examples=repeats(100, 2000))
def test_what_the_receipt_says_is_what_the_timeline_shows(places: Any, submissions: Sequence[Delivery]) -> None:
    _the_receipts_say_what_stands(places(), submissions)


@pytest.mark.postgresql
@given(SUBMISSIONS)
@settings(max_examples=repeats(20, 200))
def test_what_the_receipt_says_is_what_postgresql_shows(postgres_places: Any, submissions: Sequence[Delivery]) -> None:
    _the_receipts_say_what_stands(postgres_places(), submissions)


@given(SUBMISSIONS)
@settings(max_examples=repeats(40, 400))
def test_a_replay_changes_nothing_and_loses_nothing(places: Any, submissions: Sequence[Delivery]) -> None:
    trial = places()
    for name, statements in submissions:
        deliver(trial, name, statements)
    revision, shown = trial.revision(), trial.shown()
    for name, statements in submissions:
        for answer, sent in deliver(trial, name, statements):
            for at, line in answer.lines.items():
                assert not line.effects
                assert sent[at].code not in LOINC or line.disposition != "kept" or "unchanged" in line.notes, line
    assert (trial.revision(), trial.shown()) == (revision, shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["json", "csv"])
def test_a_receipt_of_50_000_lines_is_answered(places: Any, name: str) -> None:
    """12,500 in the quick profile: still many more than one statement of SQL takes, for each patient."""
    begin, number = datetime(2020, 1, 1, tzinfo=UTC), repeats(50_000)
    many = [
        Statement(f"P{1 + n % 2}", "CK", (begin + timedelta(minutes=n)).isoformat(), 100, upper_limit=None)
        for n in range(number)
    ]
    trial, form = places(), FORMATS[name]
    [request] = form.write(many)
    answer = form.read(trial.send(request), request, many)
    assert answer.counts == Counter(kept=number)
    assert len(answer.lines) == number
    assert all(line.notes == {"no_upper_limit"} for line in answer.lines.values())
