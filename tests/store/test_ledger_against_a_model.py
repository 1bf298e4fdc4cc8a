"""The ledger and a plain dictionary get the same input. They must give the same output at every revision."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.errors import Conflict, Erased, NotFound, PreconditionFailed, PreconditionRequired
from app.store.engine import Database
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.ledger import submit, submit_each
from app.store.revisions import AsOf, resolve
from app.timeline.normalize import AttributeFact, History
from tests.store.number_rule_twin import Told, standing
from tests.store.posts import begin_study, ck, columns, etag, got, history, now, put, revisions, timeline

RANKS = {"preliminary": 0, "final": 1, "amended": 2, "corrected": 3, "entered-in-error": 4, "cancelled": 4}
ISSUED = {None: None, 1: "2005-03-17T00:00:00Z"}
LINK = "merged_into"

NAMES = ("Ada", "Bo", "Cy")
PATIENTS = st.sampled_from(["Ada", "Ada", "Bo", "Bo", "Cy"])
ASSERTIONS = st.tuples(
    st.sampled_from(["k1", "k2"]),
    st.sampled_from([None, None, 1, 2]),
    st.sampled_from([None, None, 1]),
    st.sampled_from(["preliminary", "final", "final", "entered-in-error"]),
    st.integers(1, 2),
)
"""The values are few, so that most of them occur several times."""
DOCUMENTS = st.lists(ASSERTIONS, max_size=3, unique_by=lambda one: one[:4])
LINKS = st.tuples(
    st.just(LINK), st.none(), st.sampled_from([None, 1, 2]), st.sampled_from(["final", "final", "entered-in-error"]),
    st.sampled_from([*NAMES, "Nobody"]),
)  # fmt: skip
"""A record that is merged into another, or a merge that is undone, written like an assertion without a version."""


@dataclass
class Fact:
    """One identity: every assertion with its place in the order of arrival, and what timelines that were put did to it.

    Assertions that are `left_out` rank and do not stand; those that are `replaced` do not rank either. `last` is what
    stands of a link, for which only the order of its assertions decides.
    """

    ever: dict[tuple, int] = field(default_factory=dict)
    left_out: set[tuple] = field(default_factory=set)
    replaced: set[tuple] = field(default_factory=set)
    last: tuple | None = None

    def receive(self, assertion: tuple) -> None:
        """It arrives now, also if it was there before."""
        self.ever[assertion] = next(_places)
        self.left_out.discard(assertion)
        self.replaced.discard(assertion)

    def ranking(self) -> list[tuple]:
        return [one for one in self.ever if one not in self.replaced]

    def standing(self, fresh: tuple | None = None) -> tuple | None:
        """What stands, which may be a withdrawal; or what would stand if this one arrived now."""
        received = {one: self.ever[one] for one in self.ranking()}
        left_out = self.left_out - {fresh}
        if fresh is not None:
            received[fresh] = 10**9
        gone = [one for one in received if not is_shown(one)]
        values = [one for one in received if is_shown(one)]
        if values:
            [greatest] = chosen({one: received[one] for one in values})
            gone = [one for one in gone if not chosen({greatest: received[greatest], one: received[one]})]
            if not gone:
                return None if greatest in left_out else greatest
        return max(gone, key=lambda one: (rank(one)[0], said_at(one, received), received[one]), default=None)


_places = itertools.count(1)


def said_at(assertion: tuple, received: dict[tuple, int]) -> float:
    """When a withdrawal was said: those that nobody dated when they came, after all that were issued."""
    _, version, issued, *_ = assertion
    return 0 if issued is not None else float("-inf") if version is not None else received[assertion]


def chosen(received: dict[tuple, int]) -> list[tuple]:
    """What is shown of assertions of one date, by the twin of the number rule."""
    told = {
        Told(("day", 0), status, None if issued is None else 0, version, value): (
            number,
            version,
            issued,
            status,
            value,
        )
        for number, version, issued, status, value in received
    }
    shown, _ = standing({one: received[assertion] for one, assertion in told.items()})
    return [told[one] for one in shown]


def rank(assertion: tuple) -> tuple:
    _, version, issued, status, _ = assertion
    return (-1 if version is None else version, -1 if issued is None else issued, RANKS[status])


def written(patient: str, stated: list[tuple]) -> dict[str, Any]:
    labs = [
        ck(number, value, version=version, issued=ISSUED[issued], status=status)
        for number, version, issued, status, value in stated
        if number != LINK
    ]
    return timeline(patient, *labs, about={name: survivor for name, *_, survivor in stated if name == LINK})


def is_later(fact: Fact, other: str, link: tuple) -> bool:
    """Whether a record was said to be merged into another one after a link, even if that was undone since."""
    of_pair = [(rank(one)[1], is_shown(one)) for one in fact.ever if one[4] == other]
    merged = [at for at, shown in of_pair if shown]
    return any(at > rank(link)[1] and (shown or min([*merged, at]) < at) for at, shown in of_pair)


def is_shown(assertion: tuple | None) -> bool:
    return assertion is not None and RANKS[assertion[3]] < 4


@dataclass
class Model:
    """What the design says, as slowly and plainly as possible."""

    people: dict[str, dict[str, Fact]] = field(default_factory=dict)
    snapshots: list[dict] = field(default_factory=lambda: [{}])
    first: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    windows: list[tuple[int, int]] = field(default_factory=list)

    def standing(self) -> dict:
        now = {
            patient: {number: fact.last if number == LINK else fact.standing() for number, fact in facts.items()}
            for patient, facts in self.people.items()
        }
        return {
            patient: {number: one for number, one in facts.items() if one is not None} for patient, facts in now.items()
        }

    def merge(self, patient: str, stated: list[tuple]) -> bool:
        new = patient not in self.people
        facts = self.people.setdefault(patient, {})
        changed = new
        for assertion in stated:
            fact = facts.setdefault(assertion[0], Fact())
            if assertion in fact.ever:
                continue
            bar = fact.last or max(fact.ever, key=rank, default=assertion)
            fact.receive(assertion)
            changed = True
            if rank(assertion) >= rank(bar):
                fact.last = assertion
        return self.conclude(patient, new, changed | self.turn(patient, stated))

    def turn(self, patient: str, stated: list[tuple]) -> bool:
        """Of two records that name each other, the later link counts."""
        turned = False
        for link in stated:
            if link[0] == LINK and link[2] is not None:
                mine, theirs = self.people[patient][LINK], self.people.get(link[4], {}).get(LINK, Fact())
                if is_later(theirs, patient, link):
                    turned |= is_shown(link) and mine.last == link
                    mine.last = None if is_shown(link) and mine.last == link else mine.last
                elif is_shown(theirs.last) and theirs.last[4] == patient and is_later(mine, link[4], theirs.last):
                    theirs.last, turned = None, True
        return turned

    def replace(self, patient: str, stated: list[tuple]) -> bool:
        facts = self.people[patient]
        changed = False
        for number in {*facts, *[assertion[0] for assertion in stated]}:
            fact = facts.setdefault(number, Fact())
            mine = [assertion for assertion in stated if assertion[0] == number]
            changed |= self.put_link(fact, mine) if number == LINK else self.put(fact, mine)
        return self.conclude(patient, False, changed)

    def put_link(self, fact: Fact, stated: list[tuple]) -> bool:
        for given in stated:
            assertion = given
            if fact.ever:  # a document cannot say when it was issued
                assertion = (*given[:2], (fact.last or max(fact.ever, key=rank))[2], *given[3:])
            if fact.last == assertion:
                return False
            fact.receive(assertion)
            fact.last = assertion
            return True
        left_out = is_shown(fact.last)
        fact.last = None if left_out else fact.last
        return left_out

    def put(self, fact: Fact, stated: list[tuple]) -> bool:
        shown = fact.standing()
        answered = set(stated)
        changed = False
        for assertion in stated:
            if assertion == shown and is_shown(shown):
                continue
            others = [one for one in fact.ranking() if one != assertion]
            current = fact.standing()
            if is_shown(current):
                answered.add(current)
            if current is None and fact.left_out and others:
                fact.replaced |= set(others)
                fact.left_out.clear()
            elif assertion in fact.ever and fact.standing(assertion) != assertion:
                continue
            fact.receive(assertion)
            changed = True
        if is_shown(fact.standing()) and fact.standing() not in answered:
            fact.left_out |= set(fact.ranking())
            changed = True
        return changed

    def conclude(self, patient: str, new: bool, changed: bool) -> bool:
        if new:
            self.first[patient] = len(self.snapshots)
        if changed:
            self.snapshots.append(self.standing())
        return changed

    def erase(self, patient: str) -> None:
        self.windows.append((self.first.pop(patient), len(self.snapshots)))
        del self.people[patient]
        self.erased.add(patient)
        self.snapshots.append(self.standing())

    def is_merged_into(self, patient: str) -> bool:
        links = (facts[LINK].last for who, facts in self.people.items() if LINK in facts and who != patient)
        return any(is_shown(link) and link[4] == patient for link in links)


def analysed(snapshot: dict) -> dict[str, list[float]]:
    """The values that analyses should read of each person: assertions of linked records are put together one by one."""

    def survivor(record: str) -> str:
        link = snapshot[record].get(LINK)
        return link[4] if is_shown(link) and link[4] in snapshot else record

    def end(record: str) -> str:
        path = [record]
        while (following := survivor(path[-1])) != path[-1]:
            path.append(following)
            if path.count(following) > 1:  # a circle: each record in it stays alone
                return next(one for one in path if path.count(one) > 1)
        return path[-1]

    of_person: dict[str, dict[str, list[tuple]]] = {}
    for record in sorted(snapshot, key=lambda one: (end(one) != one, one)):
        facts = of_person.setdefault(end(record), {})
        for number, assertion in snapshot[record].items():
            if number != LINK:
                facts.setdefault(number, []).append(assertion)
    together = {
        who: [one for stated in facts.values() for one in of_records(stated)] for who, facts in of_person.items()
    }
    return {who: sorted(one[4] for one in shown) for who, shown in together.items()}


def of_records(stated: list[tuple]) -> list[tuple]:
    """What is shown of one number that stands in these records; of equal assertions that of the first record."""
    if len(stated) == 1:
        return [one for one in stated if is_shown(one)]
    return chosen({one: 10**9 - place for place, one in reversed(list(enumerate(stated)))})


class Ledger(RuleBasedStateMachine):
    """A study and its model."""

    database: Database
    made = 0

    @initialize()
    def begin(self):
        type(self).made += 1
        self.study = begin_study(self.database, f"{type(self).__name__}-{self.made}")
        self.model = Model()

    @rule(patient=PATIENTS, stated=DOCUMENTS)
    def post(self, patient, stated):
        self.submit([(patient, stated)])

    @rule(stated=st.lists(st.tuples(PATIENTS, DOCUMENTS), min_size=2, max_size=2, unique_by=lambda one: one[0]))
    def post_several(self, stated):
        self.submit(stated)

    @rule(stated=st.lists(st.tuples(PATIENTS, DOCUMENTS), min_size=2, max_size=4))
    def stream(self, stated):
        with self.database.writing() as connection:
            done = submit_each(
                connection,
                self.study,
                [history(written(*one)) for one in stated],
                format="native",
                client=None,
                received_at=now(),
            )
        for (patient, assertions), outcome in zip(stated, done, strict=True):
            if patient in self.model.erased:
                assert isinstance(outcome, Erased)
            else:
                number = len(self.model.snapshots)
                assert outcome.revision == (number if self.model.merge(patient, assertions) else None)

    @rule(patient=PATIENTS, link=LINKS)
    def say_who_is_one_person(self, patient, link):
        _, _, issued, status, survivor = link
        if survivor == patient:  # no reader lets it pass
            return
        fact = AttributeFact(LINK, None, None, None, issued, status, json.dumps(survivor))
        self.submit([(patient, [link])], [History(patient, (fact,))])

    def submit(self, stated, histories=None):
        try:
            with self.database.writing() as connection:
                done = submit(
                    connection,
                    self.study,
                    histories or [history(written(*one)) for one in stated],
                    format="native",
                    client=None,
                    received_at=now(),
                )
        except Erased:
            assert any(patient in self.model.erased for patient, _ in stated)
            return
        known = set(self.model.people)
        before = len(self.model.snapshots)
        changed = [self.model.merge(patient, assertions) for patient, assertions in stated]
        if any(changed):  # several patients, one revision
            del self.model.snapshots[before:-1]
            self.model.first |= {patient: before for patient, _ in stated if patient not in known}
        assert [one.revision is not None for one in done.outcomes] == changed
        assert done.revision == (before if any(changed) else None)

    @rule(patient=PATIENTS, stated=DOCUMENTS, survivor=st.sampled_from([None, *NAMES]))
    def replace(self, patient, stated, survivor):
        if survivor not in {None, patient}:
            stated = [*stated, (LINK, None, None, "final", survivor)]
        document = written(patient, stated)
        if patient in self.model.erased:
            with pytest.raises(Erased):
                put(self.database, self.study, document)
        elif patient not in self.model.people:
            with pytest.raises(PreconditionFailed):
                put(self.database, self.study, document, '"no such"')
            assert put(self.database, self.study, document).status == "created"
            self.model.merge(patient, stated)
        else:
            with pytest.raises(PreconditionRequired):
                put(self.database, self.study, document)
            with pytest.raises(PreconditionFailed):
                put(self.database, self.study, document, '"another"')
            outcome = put(self.database, self.study, document, etag(self.database, self.study, patient))
            assert (outcome.revision is not None) == self.model.replace(patient, stated)

    @rule(patient=PATIENTS)
    def put_what_was_got(self, patient):
        if patient in self.model.people:
            document = got(self.database, self.study, patient)
            assert put(self.database, self.study, document, "*").revision is None

    @rule(patient=PATIENTS)
    def erase(self, patient):
        if self.model.is_merged_into(patient) and patient in self.model.people:
            with pytest.raises(Conflict), self.database.writing() as connection:
                erase(connection, self.study, patient, client=None, received_at=now())
        elif patient in self.model.people:
            with self.database.writing() as connection:
                erasure = erase(connection, self.study, patient, client=None, received_at=now())
            self.model.erase(patient)
            assert (erasure.first_revision, erasure.revision) == self.model.windows[-1]

    @rule(patient=PATIENTS, stated=DOCUMENTS)
    def readmit(self, patient, stated):
        if patient in self.model.erased:
            outcome = put(self.database, self.study, written(patient, stated), readmit=True)
            self.model.erased.discard(patient)
            self.model.merge(patient, stated)
            assert outcome.status == "created"

    @rule(data=st.data())
    def read_the_past(self, data):
        self.compare(data.draw(st.integers(0, len(self.model.snapshots) - 1)))

    @invariant()
    def the_present_is_the_same(self):
        if hasattr(self, "model"):
            assert len(revisions(self.database, self.study)) == len(self.model.snapshots)
            self.compare(len(self.model.snapshots) - 1)

    def teardown(self):
        for number in range(len(self.model.snapshots)):
            self.compare(number)
        with self.database.reading() as connection:
            verification = verify(connection, self.study)
        assert verification.faults == ()
        assert verification.revisions == len(self.model.snapshots)
        assert (verification.erased_leaves > 0) == bool(self.model.windows)

    def compare(self, number):
        if any(first <= number < erased for first, erased in self.model.windows):
            with pytest.raises(Erased), self.database.reading() as connection:
                resolve(connection, self.study, AsOf(number), now=now())
            return
        with self.database.reading() as connection:
            assert resolve(connection, self.study, AsOf(number), now=now()).number == number
        snapshot = self.model.snapshots[number]
        for patient in NAMES:
            if patient in snapshot:
                shown = {name: fact for name, fact in snapshot[patient].items() if is_shown(fact)}
                link = shown.pop(LINK, None)
                assert self.read(patient, number) == (shown, link and link[4])
            else:
                with pytest.raises((NotFound, Erased)):
                    got(self.database, self.study, patient, number)
        cohort = columns(self.database, self.study, number)
        read = {one.id: cohort.labs.value[cohort.labs.patient == i] for i, one in enumerate(cohort.patients)}
        assert {who: sorted(values.tolist()) for who, values in read.items()} == analysed(snapshot)

    def read(self, patient, number):
        issued = {text: short for short, text in ISSUED.items()}
        document = got(self.database, self.study, patient, number)
        return {
            lab["id"]: (lab["id"], lab.get("version"), issued[lab.get("issued")], lab["status"], lab["value"])
            for lab in document["labs"]
        }, document["patient"].get(LINK)


@pytest.mark.slow
def test_the_ledger_says_what_a_dictionary_would(database, monkeypatch):
    """The ledger alone: rings of merges, which are refused, may be in a database of an earlier version."""
    monkeypatch.setattr("app.store.ledger.ring_faults", lambda *_, **__: [])
    engine = database.engine.dialect.name
    machine = type(f"On{engine}", (Ledger,), {"database": database})
    # A step asks PostgreSQL some thirty questions, each over a socket.
    examples = settings().max_examples // (4 if engine == "sqlite" else 10)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30))
