"""The loop of all formats: together or each for itself, in groups, and what a busy database leaves."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from app.errors import Busy, Erased, Fault, FaultCode, InvalidDocument, NotFound, ServiceError
from app.readers.pseudonyms import Pseudonyms, fingerprint, study_key
from app.readers.statements import Feed
from app.store import studies, worklist
from app.store.engine import Database
from app.store.erasure import erase
from app.store.revision_builder import RevisionBuilder
from app.store.timelines import list_patients
from app.submission import loop
from app.submission.loop import Submitter
from tests.store.posts import LATEST, ck, history, now, post, revisions, timeline

REFUSAL = InvalidDocument(faults=[Fault("/labs/0/value", FaultCode.OUT_OF_RANGE)])


def submitter(database: Database, study: str, **more) -> Submitter:
    return Submitter(database, study, "native", now(), **more)


def patient(who: str, value: float = 1000):
    return history(timeline(who, ck(value=value)))


def told(outcomes) -> list[object]:
    """Each outcome in a word: what happened, or the refusal."""
    return [each.slug if isinstance(each, ServiceError) else each.status for each in outcomes]


def made(database, study) -> int:
    """The revisions that a study has beside its revision 0."""
    return len(revisions(database, study)) - 1


def erased(database, study, who: str) -> None:
    post(database, study, timeline(who, ck()))
    with database.writing() as transaction:
        erase(transaction, study, who, client=None, received_at=now())


@pytest.fixture
def hasty(database) -> Iterator[Database]:
    """The same database by another pool, which waits a moment only for its turn."""
    url = database.engine.url.render_as_string(hide_password=False)
    hasty = Database(url, wait_seconds=0.1, keys=database.keys)
    yield hasty
    hasty.dispose()


@pytest.fixture
def occupy(database, study) -> Iterator[Callable[[], Callable[[], None]]]:
    """Takes the place of the writer of the study; what it returns gives the place free."""
    with ExitStack() as stack:

        def take_the_place() -> Callable[[], None]:
            own = stack.enter_context(ExitStack())
            RevisionBuilder(own.enter_context(database.writing()), study, now())
            return own.close

        yield take_the_place


class TestTogether:
    """One transaction, one revision, or nothing."""

    def test_all_histories_are_one_revision(self, database, study):
        ours = submitter(database, study)
        histories = [patient("P1"), patient("P2"), patient("P1")]
        submission = ours.commit(lambda transaction: ours.submit(ours.builder(transaction), histories))
        assert told(submission.outcomes) == ["created", "created", "unchanged"]
        assert {each.revision for each in submission.outcomes} == {1, None}
        assert made(database, study) == 1

    def test_a_refusal_after_something_was_written_leaves_nothing(self, database, study):
        ours = submitter(database, study)

        def work(transaction):
            ours.submit(ours.builder(transaction), [patient("P1")])
            raise REFUSAL

        with pytest.raises(InvalidDocument):
            ours.commit(work)
        assert made(database, study) == 0

    def test_an_erased_person_keeps_all_out(self, database, study):
        erased(database, study, "P1")
        before, ours = made(database, study), submitter(database, study)
        with pytest.raises(Erased):
            ours.commit(lambda transaction: ours.submit(ours.builder(transaction), [patient("P1"), patient("P2")]))
        assert made(database, study) == before

    def test_a_busy_database_is_tried_again_after_each_pause(self, hasty, study, occupy, monkeypatch):
        give_free, slept = occupy(), []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                give_free()

        monkeypatch.setattr(loop.time, "sleep", sleep)
        ours = submitter(hasty, study, pauses=(0.01, 0.02, 0.03))
        submission = ours.commit(lambda transaction: ours.submit(ours.builder(transaction), [patient("P1")]))
        assert told(submission.outcomes) == ["created"]
        assert slept == [0.01, 0.02]

    def test_a_database_that_stays_busy_is_told_when_the_pauses_are_over(self, hasty, study, occupy, monkeypatch):
        occupy()
        slept: list[float] = []
        monkeypatch.setattr(loop.time, "sleep", slept.append)
        ours = submitter(hasty, study, pauses=(0.01, 0.02))
        with pytest.raises(Busy):
            ours.commit(lambda transaction: ours.submit(ours.builder(transaction), [patient("P1")]))
        assert slept == [0.01, 0.02]


class TestEach:
    """Every item by itself, in its place."""

    def test_every_item_is_a_revision_of_its_own_and_a_refused_one_keeps_its_place(self, database, study):
        ours = submitter(database, study)
        items = [patient("P1"), REFUSAL, patient("P2"), patient("P1"), patient("P1", 900)]
        outcomes = ours.each(items, ours.submit_each)
        assert told(outcomes) == ["created", "invalid", "created", "unchanged", "changed"]
        assert outcomes[1] is REFUSAL
        assert [each.revision for each in outcomes if each is not REFUSAL] == [1, 2, None, 3]

    def test_a_statement_that_a_later_item_of_the_group_makes_ambiguous_is_on_the_worklist(self, database, study):
        ours = submitter(database, study)
        stated = [ck(time="2005-03-17", status="entered-in-error"), ck(time="2005-03-16")]
        ours.each([history(timeline("P1", each)) for each in stated], ours.submit_each)
        with database.reading() as transaction:
            key = studies.study_key(transaction, study)
            listed = worklist.listed_items(transaction, key, made(database, study))
        assert [(each.patient, each.reason) for each in listed] == [("P1", "ambiguous_withdrawal")]

    def test_an_erased_person_in_the_first_place_keeps_no_other_out(self, database, study):
        erased(database, study, "P1")
        ours = submitter(database, study)
        outcomes = ours.each([patient("P1"), patient("P2"), REFUSAL], ours.submit_each)
        assert told(outcomes) == ["erased", "created", "invalid"]

    def test_no_item_makes_no_revision(self, database, study):
        ours = submitter(database, study)
        assert ours.each([], ours.submit_each) == []
        assert made(database, study) == 0

    def test_an_unknown_study_is_noticed_even_without_an_item(self, database):
        ours = submitter(database, "nowhere")
        for items in ([], [REFUSAL], [patient("P1")]):
            with pytest.raises(NotFound):
                ours.each(items, ours.submit_each)

    def test_items_are_read_and_stored_in_groups(self, database, study, monkeypatch):
        monkeypatch.setattr(loop, "GROUP", 2)
        ours, stored_before = submitter(database, study), []

        def items():
            for who in ("P1", "P2", "P3", "P4", "P5"):
                stored_before.append(made(database, study))
                yield patient(who)

        assert told(ours.each(items(), ours.submit_each)) == ["created"] * 5
        assert stored_before == [0, 0, 2, 2, 4]

    def test_work_of_another_format_answers_with_results_of_its_own(self, database, study):
        results = submitter(database, study).each(
            ["a", REFUSAL, "b"], lambda _, contents: [f"{each}!" for each in contents]
        )
        assert results == ["a!", REFUSAL, "b!"]

    def test_where_the_work_fails_the_whole_group_is_undone(self, database, study):
        ours = submitter(database, study)

        def work(transaction, histories):
            ours.submit_each(transaction, histories)
            raise ServiceError("a defect")

        with pytest.raises(ServiceError, match="a defect"):
            ours.each([patient("P1")], work)
        assert made(database, study) == 0


class TestBusy:
    """What was stored stands; the rest is not tried, and says so."""

    @pytest.fixture(autouse=True)
    def _small_groups(self, monkeypatch):
        monkeypatch.setattr(loop, "GROUP", 2)

    def test_in_the_middle_the_rest_is_busy_and_refused_items_keep_their_refusal(self, hasty, study, occupy, database):
        ours = submitter(hasty, study)

        def items():
            yield from (patient("P1"), patient("P2"), REFUSAL)
            give_free = occupy()
            yield patient("P4")
            give_free()  # the third group is not tried, though it could be stored
            yield from (patient("P5"), REFUSAL)

        outcomes = ours.each(items(), ours.submit_each)
        assert told(outcomes) == ["created", "created", "invalid", "busy", "busy", "invalid"]
        assert made(database, study) == 2
        again = submitter(database, study)
        sent = [patient("P1"), patient("P2"), patient("P4"), patient("P5")]
        assert told(again.each(sent, again.submit_each)) == ["unchanged", "unchanged", "created", "created"]

    def test_where_nothing_was_stored_all_is_refused(self, hasty, study, occupy):
        ours = submitter(hasty, study)

        def items():
            yield from (REFUSAL, REFUSAL)
            occupy()
            yield from (patient("P3"), patient("P4"))

        with pytest.raises(Busy):
            ours.each(items(), ours.submit_each)

    def test_in_a_stream_only_the_first_group_can_be_refused(self, hasty, study, occupy):
        ours = submitter(hasty, study)
        assert told(ours.group([REFUSAL], ours.submit_each)) == ["invalid"]
        give_free = occupy()
        assert told(ours.group([patient("P1"), REFUSAL], ours.submit_each)) == ["busy", "invalid"]
        give_free()
        assert told(ours.group([patient("P2")], ours.submit_each)) == ["busy"]
        occupy()
        other = submitter(hasty, study)
        with pytest.raises(Busy):
            other.group([patient("P1")], other.submit_each)


class TestFeeds:
    """Items that were read by what the study declares of its feeds."""

    KEY = study_key("x" * 32, "any")

    def feed(self) -> Feed:
        return Feed(LATEST, Pseudonyms(self.KEY))

    def known(self, database, study) -> str | None:
        with database.reading() as transaction:
            return studies.pseudonym_key(transaction, study)

    def test_the_key_is_noted_with_the_first_history_and_not_before(self, database, study):
        ours = submitter(database, study, feed=self.feed())
        ours.each([REFUSAL], ours.submit_each)
        ours.commit(lambda transaction: ours.submit(ours.builder(transaction), []))
        assert self.known(database, study) is None
        ours.each([patient("P1")], ours.submit_each)
        assert self.known(database, study) == fingerprint(self.KEY)

    def test_the_key_is_noted_with_what_is_submitted_together(self, database, study):
        ours = submitter(database, study, feed=self.feed())
        ours.commit(lambda transaction: ours.submit(ours.builder(transaction), [patient("P1")]))
        assert self.known(database, study) == fingerprint(self.KEY)

    def test_nothing_to_store_needs_no_turn_of_the_database(self, hasty, study, occupy):
        occupy()
        ours = submitter(hasty, study, feed=self.feed())
        assert ours.each([REFUSAL, REFUSAL], ours.submit_each) == [REFUSAL, REFUSAL]
        assert ours.each([], ours.submit_each) == []


def feed_of_enrolled() -> Feed:
    return Feed(LATEST, Pseudonyms(None), enrolled_only=True)


def in_words(outcome) -> tuple[dict[str, int], set[str]]:
    receipt = outcome.receipt
    return dict(+receipt.counts), {line.reason for line in receipt.lines}


ASIDE = ({"set_aside": 1}, {"unknown_reference"})


def test_a_feed_that_may_not_add_patients_sets_their_results_aside_and_keeps_the_others(database, study):
    post(database, study, timeline("known", ck(value=7)))
    feeding = submitter(database, study, feed=feed_of_enrolled())
    histories = [patient("stranger"), patient("known"), patient("stranger", 5)]
    together = feeding.commit(lambda transaction: feeding.submit(feeding.builder(transaction), histories))
    assert [in_words(each) for each in together.outcomes][::2] == [ASIDE, ASIDE]
    assert [each.status for each in together.outcomes] == ["changed", "changed", "changed"]
    before = made(database, study)
    each = feeding.each([patient("other"), patient("known"), patient("other")], feeding.submit_each)
    assert made(database, study) == before + 1
    assert [in_words(outcome) for outcome in each][::2] == [ASIDE, ASIDE]
    assert [outcome.status for outcome in each] == ["changed", "unchanged", "unchanged"]
    with database.reading() as connection:
        assert {listed.id for listed in list_patients(connection, study, before + 1)} == {"known"}


def test_a_feed_that_may_not_add_patients_adds_the_merged_record_of_one(database, study):
    post(database, study, timeline("known", ck(value=7)))
    feeding = submitter(database, study, feed=feed_of_enrolled())
    link, lone = (history({"patient": {"id": old, "merged_into": into}}) for old, into in (("a", "known"), ("b", "c")))
    first, second, third = feeding.each([link, lone, patient("a")], feeding.submit_each)
    assert (first.status, second.status, third.status) == ("created", "changed", "changed")
    assert in_words(second) == ASIDE


def test_a_person_who_was_erased_is_not_taken_for_one_who_is_not_enrolled(database, study):
    erased(database, study, "gone")
    feeding = submitter(database, study, feed=feed_of_enrolled())
    assert told(feeding.each([patient("gone")], feeding.submit_each)) == ["erased"]
