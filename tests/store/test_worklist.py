"""The worklist: what is set aside is listed until a later message mends it or a person dismisses it."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.errors import Conflict, Erased, FaultCode, NotFound, ServiceError
from app.store import ledger, worklist
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.ledger import submit, submit_each
from app.store.rehearsal import rehearsal
from app.store.studies import study_key
from app.store.timelines import list_patients
from app.timeline.receipts import Disposition, ReceiptLine, SentFact
from tests.repetition import repeats
from tests.store.posts import begin_study, ck, got, history, now, revisions, timeline

AT = "1110934080000000"  # 2005-03-16T09:48:00+09:00
TIMED = {"time": "2005-03-16T09:48:00+09:00"}


def line(place="OBX[1]-6", reason=FaultCode.UNKNOWN_UNIT, **known) -> ReceiptLine:
    """A CK result number k1 of laboratory A that cannot be read."""
    at = place.partition("-")[0]
    described = {"section": "labs", "word": "CK", "source": "A", "id": "k1", "time": AT, "content": "1"} | known
    return ReceiptLine(place, Disposition.SET_ASIDE, reason, sent=SentFact(at, **described))


def aside(*lines, who="P1", labs=()):
    """A history of which these facts were set aside."""
    return replace(history(timeline(who, *labs)), aside=lines)


def send(database, study, *histories, sender="LAB|A"):
    with database.writing() as connection:
        return submit(connection, study, histories, format="hl7v2", client=None, received_at=now(), sender=sender)


def listed(database, study, revision=None, **more):
    with database.reading() as connection:
        latest = revisions(database, study)[-1].number if revision is None else revision
        return worklist.listed_items(connection, study_key(connection, study), latest, **more)


def numbers(database, study, revision=None) -> list[int]:
    return [item.number for item in listed(database, study, revision)]


def dismiss(database, study, number, reason="duplicate", comment=None):
    with database.writing() as connection:
        return worklist.dismiss(connection, study, number, reason, comment, client="eve", received_at=now())


def check(database, study) -> None:
    with database.reading() as connection:
        assert verify(connection, study).faults == ()


@pytest.fixture
def item(database, study):
    send(database, study, aside(line()))


def test_what_is_set_aside_is_listed_without_its_content(database, study, item):
    [found] = listed(database, study)
    assert (found.number, found.patient, found.code, found.reason) == (1, "P1", "CK", "unknown_unit")
    assert (found.place, found.sender, found.format, found.statement) == ("OBX[1]-6", "LAB|A", "hl7v2", None)
    assert found.revision == 1
    check(database, study)


def test_a_submission_in_which_all_was_set_aside_makes_a_revision_and_no_patient(database, study):
    done = send(database, study, aside(line()))
    assert (done.revision, done.outcomes[0].revision, done.outcomes[0].status) == (1, 1, "changed")
    with database.reading() as connection:
        assert list_patients(connection, study, 1) == []


def test_the_same_message_again_makes_no_second_item_and_no_revision(database, study, item):
    assert send(database, study, aside(line("OBX[7]-6"))).revision is None
    assert numbers(database, study) == [1]


def test_the_same_message_again_makes_no_item_after_the_first_was_dismissed(database, study, item):
    dismiss(database, study, 1)
    assert send(database, study, aside(line())).revision is None
    assert numbers(database, study) == []


def test_another_statement_about_the_same_fact_replaces_the_item(database, study, item):
    send(database, study, aside(line(reason=FaultCode.BAD_NUMBER, content="2")))
    assert [(found.number, found.reason) for found in listed(database, study)] == [(2, "bad_number")]
    check(database, study)


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ({}, ck("k1", **TIMED)),
        ({}, ck("k1", **TIMED, status="corrected")),
        ({}, ck("k1", value=None, **TIMED, status="entered-in-error")),
        ({"time": None}, ck("k1", **TIMED)),
        ({"time": "d12858"}, ck("k1", **TIMED)),
        ({"id": None}, ck("k9", **TIMED)),
        ({"id": None}, {**ck(**TIMED), "id": None}),
    ],
)
def test_a_later_message_about_the_same_fact_mends_the_item(database, study, known, kept):
    send(database, study, aside(line(**known)))
    send(database, study, history(timeline("P1", kept)))
    assert numbers(database, study) == []
    assert numbers(database, study, revision=1) == [1]
    check(database, study)


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ({}, ck("k2", time="2005-03-17")),
        ({}, ck("k1", time="2005-03-17")),
        ({}, ck("k1", **TIMED, lab="B")),
        ({}, {**ck("k1", **TIMED), "code": "LDH"}),
        ({"time": None}, ck("k2", **TIMED)),
        ({"word": None}, ck("k1", **TIMED)),
    ],
)
def test_a_message_about_another_fact_mends_nothing(database, study, known, kept):
    send(database, study, aside(line(**known)))
    send(database, study, history(timeline("P1", kept)))
    assert numbers(database, study) == [1]


def test_without_number_and_time_a_new_fact_at_the_same_place_of_the_same_sender_mends_the_item(database, study):
    send(database, study, aside(line("/labs/0", id=None, time=None)))
    again = history(timeline("P1", {**ck(**TIMED), "id": None}))
    send(database, study, again, sender="LAB|B")
    assert numbers(database, study) == [1]
    send(database, study, history(timeline("P1", {**ck(time="2005-03-18"), "id": None})))
    assert numbers(database, study) == []


def test_a_fact_that_stood_before_does_not_mend_an_item_without_a_time(database, study):
    send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    send(database, study, aside(line(time=None)))
    send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    assert numbers(database, study) == [1]


def test_a_replay_of_what_stands_mends_an_item_about_exactly_that(database, study):
    send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    send(database, study, aside(line()))
    done = send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    assert (done.revision, done.outcomes[0].status) == (3, "changed")
    assert numbers(database, study) == []
    check(database, study)


def test_a_stale_statement_mends_nothing(database, study):
    send(database, study, history(timeline("P1", ck("k1", **TIMED, version=1))))
    send(database, study, history(timeline("P1", ck("k1", value=2, **TIMED, version=2))))
    send(database, study, aside(line()))
    send(database, study, history(timeline("P1", ck("k1", **TIMED, version=1))))
    assert numbers(database, study) == [1]


@pytest.mark.parametrize("turn", [1, -1])
def test_what_a_submission_sets_aside_it_does_not_mend(database, study, item, turn):
    both = [aside(line(id="k2")), history(timeline("P1", ck("k2", **TIMED)))][::turn]
    send(database, study, *both)
    assert numbers(database, study) == [1, 2]
    assert send(database, study, *both).revision is None
    assert numbers(database, study) == [1, 2]
    check(database, study)


def test_items_of_other_patients_and_studies_stay(database, study, item):
    send(database, study, history(timeline("P2", ck("k1", **TIMED))))
    assert numbers(database, study) == [1]


def test_many_items_in_one_transaction_have_numbers_of_their_own(database, study):
    histories = [aside(line(id=f"k{i}"), who=f"P{i % 2}") for i in range(6)] + [
        history(timeline("P1", ck("k3", **TIMED)))
    ]
    with database.writing() as connection:
        submit_each(connection, study, histories, format="csv", client=None, received_at=now())
    assert numbers(database, study) == [1, 2, 3, 5, 6]
    assert listed(database, study)[0].sender == "A"
    check(database, study)


def test_a_replaced_timeline_mends_too(database, study, item):
    with database.writing() as connection:
        document = history(timeline("P1", ck("k1", **TIMED)))
        ledger.replace(connection, study, document, if_match=None, format="n", client=None, received_at=now())
    assert numbers(database, study) == []
    check(database, study)


def test_a_dismissed_item_is_listed_at_the_revisions_before(database, study, item):
    done = dismiss(database, study, 1, "other", "The laboratory says: no.")
    assert (done.status, done.revision) == ("dismissed", 2)
    assert revisions(database, study)[-1].format == "dismissal"
    assert (numbers(database, study), numbers(database, study, revision=1)) == ([], [1])
    assert numbers(database, study, revision=0) == []
    check(database, study)


def test_two_statements_about_one_fact_in_one_message_are_two_items(database, study):
    both = aside(line(), line("OBX[2]-6", content="2"))
    send(database, study, both)
    assert numbers(database, study) == [1, 2]
    assert send(database, study, both).revision is None
    send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    assert numbers(database, study) == []


def test_the_same_dismissal_again_changes_nothing_and_another_is_a_conflict(database, study, item):
    dismiss(database, study, 1)
    again = dismiss(database, study, 1)
    assert (again.status, again.revision) == ("unchanged", 2)
    for reason, comment in (("other", None), ("duplicate", "x")):
        with pytest.raises(Conflict):
            dismiss(database, study, 1, reason, comment)
    assert len(revisions(database, study)) == 3


def test_a_mended_item_cannot_be_dismissed(database, study, item):
    send(database, study, history(timeline("P1", ck("k1", **TIMED))))
    with pytest.raises(Conflict):
        dismiss(database, study, 1)
    with pytest.raises(NotFound):
        dismiss(database, study, 2)


def test_two_dismissals_at_once_make_one_revision(database, study, item):
    answers: list[object] = []

    def run(comment):
        try:
            answers.append(dismiss(database, study, 1, "other", comment).status)
        except ServiceError as refusal:
            answers.append(refusal.slug)

    threads = [threading.Thread(target=run, args=(f"{i % 2}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["conflict"] * 3 + ["dismissed", "unchanged", "unchanged"]
    assert len(revisions(database, study)) == 3
    check(database, study)


def test_the_erasure_of_a_person_empties_the_items(database, study):
    send(database, study, aside(line(place="OBX[99]-6"), labs=[ck("k5")]))
    send(database, study, aside(line(id="k7"), who="P2"))
    dismiss(database, study, 1, "other", "said by Mrs Canary")
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
    assert numbers(database, study) == [2]
    with database.reading() as connection:
        key = study_key(connection, study)
        [row] = connection.execute(text("SELECT * FROM set_aside WHERE study = :s AND number = 1"), {"s": key})
        assert set(row[8:]) == {None}
        assert verify(connection, study).faults == ()
    with pytest.raises(Erased):
        dismiss(database, study, 1)


def test_a_person_of_whom_everything_was_set_aside_can_be_erased(database, study, item):
    with database.writing() as connection:
        erased = erase(connection, study, "P1", client=None, received_at=now())
    assert (erased.first_revision, numbers(database, study)) == (1, [])
    with pytest.raises(Erased):
        send(database, study, aside(line()))
    with database.writing() as connection:
        ledger.replace(connection, study, aside(line()), if_match=None, readmit=True, format="n", client=None,
                       received_at=now())  # fmt: skip
    assert numbers(database, study) == [2]
    check(database, study)


@pytest.mark.parametrize(
    "change",
    ["reason = 'no_offset'", "patient = 'P2'", "removed = NULL", "salt = NULL", "comment = 'y'", "erased = 2",
     "place = 'OBX[2]'", "sender = NULL"],
)  # fmt: skip
def test_a_changed_row_is_found(database, study, item, change):
    dismiss(database, study, 1, "other", "x")
    with database.writing() as connection:
        key = study_key(connection, study)
        connection.execute(text(f"UPDATE set_aside SET {change} WHERE study = :s"), {"s": key})
    with database.reading() as connection:
        assert verify(connection, study).faults != ()


def test_the_list_has_pages(database, study):
    send(database, study, aside(*[line(id=f"k{i}") for i in range(5)]))
    assert [item.number for item in listed(database, study, limit=2)] == [1, 2]
    assert [item.number for item in listed(database, study, after=2, limit=2)] == [3, 4]


MESSAGES = st.lists(st.dictionaries(st.sampled_from(["k1", "k2", "k3"]), st.booleans(), min_size=1), max_size=6)


@pytest.mark.slow
def test_an_item_is_listed_from_the_first_unreadable_statement_until_the_fact_is_kept(database):
    """Each message says of some numbers whether their result can be read."""
    sqlite = database.engine.dialect.name == "sqlite"

    @settings(max_examples=repeats(100 if sqlite else 20, thorough=100))
    @given(MESSAGES)
    def holds(messages):
        study = begin_study(database, f"s-{now()}")
        expected: list[set[str]] = [set()]
        ever: set[str] = set()
        for message in messages:
            bad = {number for number, readable in message.items() if not readable}
            done = send(
                database,
                study,
                aside(
                    *[line(id=number) for number in bad], labs=[ck(number, **TIMED) for number in message.keys() - bad]
                ),
            )
            after = (expected[-1] | (bad - ever)) - (message.keys() - bad)
            ever |= bad
            assert done.revision is not None or after == expected[-1]
            if done.revision is not None:
                expected.append(after)
        for revision, standing in enumerate(expected):
            assert len(numbers(database, study, revision)) == len(standing)
        check(database, study)

    holds()


def test_a_rehearsal_knows_the_items_and_changes_none(database, study):
    send(database, study, aside(line(), who="P1"))
    send(database, study, aside(line(), who="P2"), aside(line(id="k9"), who="P3"))
    with rehearsal(database, study) as copy:
        assert send(copy, study, aside(line(), who="P1")).revision is None
        assert send(copy, study, aside(line(id="k4"), who="P4")).revision == 3
        assert send(copy, study, history(timeline("P2", ck("k1", **TIMED)))).revision == 4
        assert numbers(copy, study, revision=4) == [1, 3, 4]
    assert numbers(database, study) == [1, 2, 3]


def at(hour: int, value: float | None = 1, issued: int | None = None, **more) -> dict:
    """A result of number k1 at an hour of one day, issued at a minute of the next day."""
    told = {} if issued is None else {"issued": f"2005-03-17T00:{issued:02}:00+09:00"}
    return ck("k1", value, time=f"2005-03-16T{hour:02}:00:00+09:00", **told, **more)


def told_of(database, study, *labs, no_number=False):
    one = history(timeline("P1", *labs))
    if no_number:
        one = replace(one, labs=tuple(lab._replace(value=None) for lab in one.labs))
    return send(database, study, one)


class TestAmbiguous:
    """Statements that the ledger has and that do not count."""

    def test_it_is_listed_with_its_place_in_the_history(self, database, study):
        told_of(database, study, at(9, issued=1), at(11, issued=2))
        told_of(database, study, at(10, issued=3, status="corrected"))
        [item] = listed(database, study)
        assert (item.reason, item.code, item.sender) == ("ambiguous_correction", "CK", "LAB|A")
        assert item.statement == {"kind": "lab_result", "code": "CK", "id": "k1"}
        assert told_of(database, study, at(10, issued=3, status="corrected")).revision is None
        check(database, study)

    def test_it_leaves_the_list_when_it_counts(self, database, study):
        told_of(database, study, at(9, issued=1), at(11, issued=2))
        told_of(database, study, at(10, issued=3, status="corrected"))
        told_of(database, study, at(9, None, issued=4, status="entered-in-error"))
        assert len(got(database, study, "P1")["labs"]) == 2
        assert (numbers(database, study), numbers(database, study, revision=2)) == ([], [1])
        check(database, study)

    def test_a_statement_that_becomes_ambiguous_is_listed(self, database, study):
        told_of(database, study, at(9, issued=1))
        told_of(database, study, at(10, issued=3, status="corrected"))
        assert numbers(database, study) == []
        told_of(database, study, at(11, issued=2))
        [item] = listed(database, study)
        assert (item.reason, item.revision, item.place) == ("ambiguous_correction", 3, "")
        check(database, study)

    def test_a_result_that_is_no_number_is_listed_until_a_result_replaces_it(self, database, study):
        told_of(database, study, at(9, issued=1))
        told_of(database, study, at(9, issued=2, status="corrected"), no_number=True)
        assert [item.reason for item in listed(database, study)] == ["not_a_number"]
        told_of(database, study, at(9, issued=1))
        assert numbers(database, study) == [1]
        told_of(database, study, at(9, 3, issued=3, status="corrected"))
        assert numbers(database, study) == []
        check(database, study)

    def test_a_result_that_is_no_number_leaves_the_list_when_a_correction_moves_its_time(self, database, study):
        told_of(database, study, at(9, issued=1))
        told_of(database, study, at(9, issued=2, status="corrected"), no_number=True)
        told_of(database, study, at(10, 3, issued=3, status="corrected"))
        assert len(got(database, study, "P1")["labs"]) == 1
        assert numbers(database, study) == []

    def test_erasure_leaves_nothing_of_it(self, database, study):
        told_of(database, study, at(9, issued=1), at(11, issued=2))
        told_of(database, study, at(10, issued=3, status="corrected"))
        with database.writing() as connection:
            erase(connection, study, "P1", client=None, received_at=now())
        assert numbers(database, study) == []
        check(database, study)
