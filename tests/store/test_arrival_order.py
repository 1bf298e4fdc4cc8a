"""Versioned and dated facts arrive in any order, some of them twice, and the study is the same.

In a few cases the order of arrival decides, and they are not here: equal version, time of issue and status; a
correction or withdrawal without a time of issue against something issued after its receipt; several such corrections
at different times; instructions.
"""

import json
import random

import pytest

from app.analyses import Options, report
from app.protocol.presets import SEED_2008
from app.store.hash_chain import verify
from app.store.ledger import submit, submit_each
from app.store.studies import StudyDeclaration, put_study
from app.store.timelines import cohort, document
from app.timeline.normalize import AttributeFact, History
from tests.repetition import repeats
from tests.store.posts import ck, history, now, timeline

ORDERS = {"sqlite": repeats(250, thorough=1000), "postgresql": repeats(15, thorough=60)}
ANALYSED = 50
"""One order in so many is analysed as well; the digest of the data is compared in all."""


def at(day: int, hour: int = 9) -> str:
    return f"2005-04-{day:02d}T{hour:02d}:00:00+09:00"


def result(number: str, day: int, **more) -> dict:
    return ck(number, **{"time": at(day), "upper_limit": 163} | more)


def facts_of(who: str, *labs: dict, **sections) -> History:
    return history(timeline(who, *labs, **sections))


def merged(issued: int, status: str, survivor: str) -> History:
    fact = AttributeFact("merged_into", None, None, None, issued, status, json.dumps(survivor))
    return History("P3", (fact,))


MESSAGES = [
    # One accession in every status that a laboratory gives it, the issue time deciding.
    *[
        facts_of("P1", result("acc-1", 1, value=value, status=status, issued=at(2, hour)))
        for value, status, hour in [
            (1000, "preliminary", 8),
            (1010, "final", 9),
            (1020, "amended", 10),
            (1030, "corrected", 11),
        ]
    ],
    # Versions decide before issue times, a status only where both are equal.
    *[
        facts_of("P1", result("acc-2", 8, value=value, version=version, status=status, issued=at(20 - version)))
        for value, version, status in [(700, 1, "preliminary"), (710, 1, "final"), (720, 2, "final"), (730, 3, "final")]
    ],
    # A correction whose original may come later, and a cancellation that a later version revives.
    facts_of("P1", result("acc-3", 15, value=160, status="corrected", issued=at(16))),
    facts_of("P1", result("acc-3", 15, value=610, status="final", issued=at(15, 12))),
    facts_of("P1", result("acc-4", 20, value=400, version=1)),
    facts_of("P1", result("acc-4", 20, value=None, version=2, status="cancelled")),
    facts_of("P1", result("acc-4", 20, value=150, version=3, status="final")),
    # Entered in error for good, with and without a value; one number of two analytes.
    facts_of("P1", result("acc-5", 22, value=9999), result("acc-5", 22, value=461, code="LDH")),
    facts_of("P1", result("acc-5", 22, value=None, status="entered-in-error")),
    facts_of("P2", result("acc-6", 3, value=880, status="entered-in-error", issued=at(5))),
    facts_of("P2", result("acc-6", 3, value=880, issued=at(4))),
    # The same accession from another message, with results that only this one has.
    facts_of(
        "P1", result("acc-1", 1, value=1030, status="corrected", issued=at(2, 11)), result("acc-7", 12, value=300)
    ),
    facts_of("P2", result("acc-1", 1, value=900), result("acc-8", 9, value=500)),
    facts_of("P2", result("acc-8", 9, value=510, version=0), result("acc-9", 16, value=120)),
    # Two draws of one number, of which one is corrected; a number that is used again after a year; a moved time.
    facts_of("P1", result("acc-20", 1, value=100, issued=at(2)), result("acc-20", 9, value=200, issued=at(10))),
    facts_of("P1", result("acc-20", 9, value=210, issued=at(11), status="corrected")),
    facts_of("P1", result("acc-21", 1, value=300, issued=at(2))),
    facts_of("P1", result("acc-21", 1, value=310, time="2006-04-01", issued="2006-04-02T09:00:00Z")),
    facts_of("P2", result("acc-22", 1, value=400, issued=at(2))),
    facts_of("P2", result("acc-22", 3, value=410, issued=at(4), status="corrected")),
    # Withdrawals and a correction without a time of issue: of one draw, of one of two, and of a time without a result.
    facts_of("P2", result("acc-23", 1, value=500, issued=at(2))),
    facts_of("P2", result("acc-23", 1, value=None, status="entered-in-error")),
    facts_of("P2", result("acc-24", 1, value=600, issued=at(2))),
    facts_of("P2", result("acc-24", 5, value=610, issued=at(6))),
    facts_of("P2", result("acc-24", 1, value=None, status="cancelled")),
    facts_of("P2", result("acc-25", 1, value=700, issued=at(2))),
    facts_of("P2", result("acc-25", 1, value=710, status="corrected")),
    facts_of("P2", result("acc-25", 6, value=None, status="entered-in-error")),
    # A preliminary result at the time of the order, a date beside a clock time, and a correction of nobody knows which.
    facts_of("P1", result("acc-26", 1, value=800, issued=at(2), status="preliminary")),
    facts_of("P1", result("acc-26", 3, value=810, issued=at(4))),
    facts_of("P1", result("acc-27", 5, value=900, issued=at(6))),
    facts_of("P1", result("acc-27", 5, value=910, time="2005-04-05", issued=at(6))),
    facts_of("P2", result("acc-28", 1, value=50, issued=at(2)), result("acc-28", 9, value=60, issued=at(3))),
    facts_of("P2", result("acc-28", 4, value=70, issued=at(5), status="corrected")),
    facts_of("P1", assessments=[{"code": "MMT", "time": at(2), "score": 50, "id": "s-1", "issued": at(3)}]),
    facts_of("P1", assessments=[{"code": "MMT", "time": at(6), "score": 55, "id": "s-1", "issued": at(7)}]),
    facts_of("P1", infusions=[{"time": at(day), "product": "IVIG", "id": "i-1"} for day in (11, 12)]),
    # Everything that is no laboratory result.
    *[
        facts_of(
            who,
            about={"sex": "female", "birth_year": 1950 + n, "diagnosis": "polymyositis"},
            infusions=[{"time": "2005-04-05", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}],
            assessments=[{"code": "MMT", "time": "2005-04-04", "score": 60}],
        )
        for n, who in enumerate(("P1", "P2"))
    ],
    facts_of("P1", assessments=[{"code": "MMT", "time": "2005-04-20", "score": 60, "version": 1}]),
    facts_of("P1", assessments=[{"code": "MMT", "time": "2005-04-20", "score": 70, "version": 2}]),
    facts_of("P2", adverse_events=[{"id": "ae-1", "term": "headache", "onset": "2005-04-06"}]),
    facts_of("P2", adverse_events=[{"id": "ae-1", "term": "migraine", "onset": "2005-04-06", "issued": at(9)}]),
    facts_of("P2", adverse_events=[{"id": "ae-2", "term": "rash"}]),
    facts_of("P2", adverse_events=[{"id": "ae-2", "term": "rash", "status": "entered-in-error"}]),
    # A record of the same person, merged, separated and merged again.
    facts_of("P3", result("acc-10", 18, value=140), result("acc-8", 9, value=512, version=1)),
    merged(1_113_000_000_000_000, "final", "P1"),
    merged(1_113_000_001_000_000, "entered-in-error", "P1"),
    merged(1_113_000_002_000_000, "final", "P2"),
]


def store(connection, study, messages, chance):
    """Store the messages one by one, as one stream, or in groups of any size."""
    way = chance.randrange(3)
    circumstances = {"format": "native", "client": None, "received_at": now()}
    while messages:
        size = [1, len(messages), chance.randrange(1, 9)][way]
        group, messages = messages[:size], messages[size:]
        if way:
            submit_each(connection, study, group, **circumstances)
        else:
            submit(connection, study, group, **circumstances)


def analysed(data):
    """All answers from what a study holds, as text."""
    found = report(data, SEED_2008, Options())
    answers = {name: answer.model_dump(mode="json") for name, answer in found.answers.items()}
    return json.dumps([found.populations.model_dump(), answers])


@pytest.mark.slow
def test_any_order_of_arrival_ends_in_one_state(database, study):
    """Many orders on SQLite and some on PostgreSQL, each in a separate study, all in one transaction."""
    chance = random.Random(20080118)
    ends, reports = set(), set()
    with database.writing() as connection:
        for n in range(ORDERS[database.engine.dialect.name]):
            name = f"{study}-{n}"
            put_study(connection, name, StudyDeclaration("A trial", SEED_2008), client=None, received_at=now())
            messages = MESSAGES + chance.sample(MESSAGES, len(MESSAGES) // 2)
            chance.shuffle(messages)
            store(connection, name, messages, chance)
            data = cohort(connection, name, 1000)
            documents = [json.dumps(document(connection, name, who)) for who in ("P1", "P2", "P3")]
            ends.add((data.digest, *documents))
            if n % ANALYSED == 0:
                reports.add(analysed(data))
                assert verify(connection, name).faults == ()
    assert len(ends) == len(reports) == 1
    _, *documents = ends.pop()
    values = [
        sorted((lab["id"], lab["value"]) for lab in json.loads(text)["labs"] if lab["code"] == "CK")
        for text in documents
    ]
    assert values == [
        [("acc-1", 1030), ("acc-2", 730), ("acc-20", 100), ("acc-20", 210), ("acc-21", 300), ("acc-21", 310),
         ("acc-26", 810), ("acc-27", 900), ("acc-3", 160), ("acc-4", 150), ("acc-7", 300)],
        [("acc-1", 900), ("acc-22", 410), ("acc-24", 610), ("acc-25", 710), ("acc-28", 50), ("acc-28", 60),
         ("acc-8", 510), ("acc-9", 120)],
        [("acc-10", 140), ("acc-8", 512)],
    ]  # fmt: skip
