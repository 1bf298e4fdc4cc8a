"""The same results in four formats are the same facts and give the same answers, to the byte."""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from app.store.engine import Database
from app.timeline.facts import LabFact
from tests.feeds.cohorts import COHORT, SAYINGS
from tests.feeds.posts import SENDERS, Post, Row
from tests.feeds.writers import Person
from tests.repetition import repeats
from tests.trust.opened import opened as opened_database

FEEDS = [sender for sender in SENDERS if sender != "native"]
FORMATS = ["native", "fhir", "hl7v2", "csv"]
Told = Callable[..., tuple[list[Row], bytes]]


def deliveries(cohort: Sequence[Person]) -> list[tuple[Person, ...]]:
    return list(zip(*(person.deliveries() for person in cohort), strict=True))


@contextmanager
def opened(file: Path, identifiers: Any = "pseudonyms", study: str = "trial") -> Iterator[Post]:
    with opened_database(f"sqlite:///{file}") as database:
        yield Post(database, study, identifiers).open()


@pytest.fixture(scope="module")
def told(migrated_file, tmp_path_factory) -> Told:
    """What a study holds and answers to which one sender has told the cohort, delivery by delivery."""

    @cache
    def tell(sender: str, identifiers: str = "pseudonyms") -> tuple[list[Row], bytes]:
        file = Path(shutil.copy(migrated_file, tmp_path_factory.mktemp("told") / "x.db"))
        with opened(file, identifiers) as post:
            for people in deliveries(COHORT):
                SENDERS[sender](post, people)
            post.rest(COHORT)
            return post.facts(), post.report()

    return tell


@pytest.fixture
def post(migrated_file, tmp_path) -> Iterator[Post]:
    """An empty study."""
    with opened(Path(shutil.copy(migrated_file, tmp_path / "x.db"))) as post:
        yield post


@pytest.mark.slow
@pytest.mark.parametrize("sender", FEEDS)
def test_the_same_results_in_another_format_are_the_same_facts(told, sender):
    assert told(sender)[0] == told("native")[0]


@pytest.mark.parametrize("sender", FEEDS)
def test_the_same_results_in_another_format_give_the_same_answers_to_the_byte(told, sender):
    assert told(sender)[1] == told("native")[1]


@pytest.mark.parametrize("sender", [sender for sender in FEEDS if sender != "fhir"])
def test_so_they_do_where_numbers_of_a_hospital_are_replaced(told, sender):
    assert told(sender, "medical_record") == told("fhir", "medical_record")


def test_the_cohort_holds_all_that_the_formats_could_disagree_about(told):
    """Otherwise the tests above would say little: every status, bounds, moved limits, foreign units, plain dates."""
    facts = [LabFact(*row[1:-2]) for row in told("native")[0]]
    assert len(facts) == sum(len(person.results) for person in COHORT) == 100
    assert {fact.status for fact in facts} == {
        "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error",
    }  # fmt: skip
    assert {fact.comparator for fact in facts} == {None, "<", ">="}
    assert {fact.unit for fact in facts} == {None, "U/L", "IU/L", "ukat/L", "nkat/L", "ug/L"}
    assert len({fact.source for fact in facts}) == 2
    assert {fact.instant is None for fact in facts} == {fact.issued is None for fact in facts} == {True, False}
    assert max(Counter((fact.id, fact.source) for fact in facts).values()) == 3
    report = json.loads(told("native")[1])
    assert report["populations"]["efficacy"] == len(COHORT)
    rates = report["analyses"]["response-rates"]["results"]
    assert {row["evaluable"] for row in rates if row["measure"] == "CK"} == {len(COHORT)}


def test_numbers_of_a_hospital_are_nowhere_in_what_is_stored_or_answered(told):
    facts, report = told("csv", "medical_record")
    assert len({row[0] for row in facts}) == len(COHORT)
    for person in COHORT:
        assert f'"{person.number}"' not in report.decode()
        for number in {person.number, *(result.number for result in person.results)}:
            assert not any(number in map(str, row) for row in facts)
            assert not any(f"#{number}|" in str(row) for row in facts)


@pytest.mark.parametrize("sender", SENDERS)
def test_one_digit_more_in_one_result_is_another_fact(told, post, sender):
    """The control: a comparison that passed this would compare nothing."""
    first, *others = COHORT
    result, *more = first.results
    slipped = replace(first, results=(replace(result, value=result.value + 0.1), *more))
    for people in deliveries([slipped, *others]):
        SENDERS[sender](post, people)
    assert len(set(post.facts()) ^ set(told("native")[0])) == 2


def test_the_same_results_from_four_systems_are_stored_once(post):
    for sender, people in itertools.product(["csv", "hl7v2", "fhir", "native"], deliveries(COHORT)):
        SENDERS[sender](post, people)
        if sender == "csv":
            known = post.facts()
    assert post.facts() == known


@pytest.mark.parametrize("sender", FEEDS)
def test_the_laboratory_that_measured_is_the_same_in_every_format(place, sender):
    database, numbers = place
    first, *_ = COHORT
    person = replace(first, results=tuple(replace(result, lab="Central laboratory") for result in first.results))
    held = []
    for each in ("native", sender):
        post = Post(database, f"study-{next(numbers)}", "pseudonyms").open()
        for people in deliveries([person]):
            SENDERS[each](post, people)
        held.append(post.facts())
    assert {LabFact(*row[1:-2]).lab for row in held[0]} == {"Central laboratory"}
    assert held[0] == held[1]


@pytest.mark.parametrize("sender", FORMATS)
def test_a_correction_that_comes_before_its_original_stands(told, post, sender):
    for people in reversed(deliveries(COHORT)):
        SENDERS[sender](post, people)
    assert post.standing() == [row[:-2] for row in told("native")[0] if row[-1] is None]


def test_a_result_may_be_told_in_one_format_and_corrected_in_another(told, post):
    for people, sender in zip(deliveries(COHORT), ["hl7v2", "csv", "fhir"], strict=True):
        SENDERS[sender](post, people)
    assert post.standing() == [row[:-2] for row in told("native")[0] if row[-1] is None]


@pytest.fixture(scope="module")
def place(migrated_file, tmp_path_factory) -> Iterator[tuple[Database, Iterator[int]]]:
    """A database for studies without number."""
    file = shutil.copy(migrated_file, tmp_path_factory.mktemp("many") / "x.db")
    database = Database(f"sqlite:///{file}")
    yield database, itertools.count()
    database.dispose()


@given(SAYINGS)
@settings(max_examples=repeats(25))
def test_whatever_a_laboratory_says_is_the_same_in_every_format(place, results):
    database, numbers = place
    person = Person("4711", "Suzuki", "other", "1960-02-29", results)
    held = {}
    for sender, send in SENDERS.items():
        post = Post(database, f"study-{next(numbers)}", "pseudonyms").open()
        send(post, [person])
        held[sender] = post.facts()
    assert len(held["native"]) == len(results)
    for sender in FEEDS:
        assert held[sender] == held["native"], sender
