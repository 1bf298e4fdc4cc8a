"""What a submission does to the assertions of a patient. There is no SQL here.

An assertion is a fact with its version, time of issue and status. Which assertions of one identity stand is decided by
`number_rule`, each time that one arrives, and the difference to what stood before becomes rows: assertions end, and
others begin to stand. An assertion that was stored before changes nothing when it arrives again. So a late retry of a
result does not undo its correction. Of an attribute of the patient the greatest assertion stands, by (time of issue,
status, arrival).

Instructions are not statements: a timeline that is put, and a DELETE or PUT of one FHIR resource. They say what stands
now, and a later statement about something else does not change that.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from app.store.assertions import (
    AMBIGUOUS,
    IDENTITY,
    ISSUED,
    STATUS,
    VERSION,
    Assertion,
    Changes,
    Fact,
    Revision,
    RuleMark,
    Tally,
    order,
    standing,
    visible,
)
from app.timeline.facts import AttributeFact, FactTime, Instruction, counts_nowhere, time_of
from app.timeline.number_rule import Draw, NumberStatement, Ruling, judge
from app.timeline.receipts import Note, NoteCode
from app.timeline.same_facts import PREFIX
from app.timeline.vocabulary import WITHDRAWN

_NO_STATEMENT = {RuleMark.REPLACED, RuleMark.OVERWRITTEN}
_LEFT_OUT = {RuleMark.LEFT_OUT, RuleMark.PLACED_LEFT_OUT}
_PLACED = {RuleMark.PLACED, RuleMark.PLACED_LEFT_OUT}


def merge(
    kind: str,
    known: dict[str, list[Assertion]],
    facts: Sequence[Fact],
    revision: Revision,
    changes: Changes,
    tally: Tally,
    instruction: Instruction | None = None,
) -> None:
    """Apply facts that arrive in a revision to the known assertions of each identity."""
    number = revision.number
    several = _several(facts) if kind != "attributes" else {}
    for fact in facts:
        identity = fact[IDENTITY]
        assertions = known.get(identity)
        if identity in several:
            if together := several[identity]:
                stated = StatedFact(kind, known.setdefault(identity, []), revision, changes, tally)
                stated.state(together, instruction)
                several[identity] = []
        elif not assertions:
            known[identity] = fresh = [Assertion(fact, number)]
            changes.added += fresh
            tally.added += 1
        elif kind == "attributes":
            _assert(assertions, fact, number, changes, tally)
        elif len(assertions) == 1 and assertions[0].removed is None and assertions[0].fact == fact:
            tally.unchanged += 1
            if assertions[0].draw:
                tally.draws[kind, identity] = assertions[0].draw
        else:
            mine = StatedFact(kind, assertions, revision, changes, tally)
            if instruction is not None or not mine.decide_at_one_time(fact):
                mine.state([fact], instruction)


def _several(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    """The facts of each identity that occurs more than once."""
    if len({fact[IDENTITY] for fact in facts}) == len(facts):
        return {}
    stated: dict[str, list[Fact]] = {}
    for fact in facts:
        stated.setdefault(fact[IDENTITY], []).append(fact)
    return {identity: together for identity, together in stated.items() if len(together) > 1}


def replace(
    kind: str,
    known: dict[str, list[Assertion]],
    facts: Sequence[Fact],
    revision: Revision,
    changes: Changes,
    tally: Tally,
    instruction: Instruction | None = None,
) -> None:
    """Apply the facts of a timeline that replaces the stored one.

    The client has read the stored timeline before, so this is not a late retry: an assertion that was stored before may
    stand again. But an assertion that its source puts before the standing one of its draw does not stand. This does not
    hold for attributes: a document shows no order of them, so the attribute that is put stands. A fact that is left out
    is withdrawn, unless its source withdrew it or a statement about its number is ambiguous. A decision about two facts
    that is left out stays: senders do not know of it.
    """
    del instruction
    stated: dict[str, list[Fact]] = {}
    for fact in facts:
        stated.setdefault(fact[IDENTITY], []).append(fact)
        known.setdefault(fact[IDENTITY], [])
    for identity, assertions in known.items():
        mine = stated.get(identity, [])
        if kind == "attributes" and not mine and identity.startswith(PREFIX):
            continue
        if kind == "attributes":
            _put_attribute(assertions, mine, revision.number, changes, tally)
        elif len(mine) == 1 and not assertions:
            _stand(assertions, mine[0], revision.number, changes)
            tally.added += 1
        elif mine or visible(kind, assertions):
            StatedFact(kind, assertions, revision, changes, tally).put(mine)


class Arriving(NamedTuple):
    """A statement that arrives now: the name of its draw, if an instruction said so, and its mark."""

    label: str | None = None
    mark: RuleMark | None = None


_NOTHING: Mapping[Fact, Arriving] = {}


@dataclass(slots=True)
class StatedFact:
    """All assertions of one identity, while a revision is made."""

    kind: str
    assertions: list[Assertion]
    revision: Revision
    changes: Changes
    tally: Tally

    def decide_at_one_time(self, fact: Fact) -> bool:
        """Do the same as `state` in the usual case: a new statement, all of one time, whose order needs no receipts.

        Returns whether it was this case.
        """
        when = time_of(self.kind, fact)
        if when.day is None or not (_is_dated(fact) or fact[STATUS] in _ORIGINAL):
            return False
        current = None
        for each in self.assertions:
            if each.mark is not None or each.draw or each.fact == fact or time_of(self.kind, each.fact) != when:
                return False
            if not _is_dated(each.fact) and each.fact[STATUS] not in _ORIGINAL:
                return False
            current = each if each.removed is None else current
        if current is None:
            return False
        stands = order(fact) >= order(current.fact)
        if stands:
            close(current, self.revision.number, self.changes)
            gone = counts_nowhere(self.kind, fact) and not counts_nowhere(self.kind, current.fact)
            self.tally.withdrawn += gone
            self.tally.changed = True
        fresh = self._add(fact, "")
        fresh.removed = None if stands else self.revision.number
        self._count(fresh, current if stands else None)
        return True

    def state(self, facts: Sequence[Fact], instruction: Instruction | None = None) -> None:
        """Apply statements of one submission, or an instruction about one FHIR resource."""
        before = self._shown()
        new = []
        stands = {each.fact: each for each in self.assertions if each.removed is None}
        known = {each.fact: each for each in self.assertions if each.mark != RuleMark.OVERWRITTEN}
        for fact in facts:
            if fact in stands:
                self.tally.unchanged += 1
                self._name(stands[fact])
                if self._holds_back(fact):
                    self.tally.notes[id(fact)] = [Note(NoteCode.UNCHANGED)]
            elif instruction is None or not self._obey(fact, instruction):
                if fact in known:
                    self.tally.stale += 1
                    self._name(known[fact])
                else:
                    new.append(fact)
        if new:
            self._settle(dict.fromkeys(new, Arriving()))
        self.tally.withdrawn += len(before - self._shown())

    def put(self, stated: Sequence[Fact]) -> None:
        """Let exactly these facts be shown, except those that their source puts before others."""
        before = self._shown()
        shown = {each.fact: each.draw for each in visible(self.kind, self.assertions)}
        new = dict.fromkeys([fact for fact in stated if fact not in shown], Arriving())
        self.tally.unchanged += len(stated) - len(new)
        draws = self._judge(new)
        elsewhere = []
        ambiguous = {fact: Arriving() for fact in new if draws.stated[fact] in draws.ruling.aside}
        answered = {*stated, *(shown if ambiguous else ())}  # they are about some that are shown: none is left out
        again = {fact: arriving for fact, arriving in ambiguous.items() if not self._known(fact)}
        self.tally.stale += len(ambiguous) - len(again)
        for fact in (each for each in new if each not in ambiguous):
            draw = draws.draw_of(fact)
            if draw is None or all(draws.facts[each] in new for each in draw.members):
                elsewhere.append(fact)
                continue
            label = draws.labels[id(draw)]
            answered |= {each for each, of_draw in shown.items() if of_draw == label}
            if self._is_hidden(label):
                self._mark(self._members(draws, draw), RuleMark.REPLACED)
                again[fact] = Arriving(label, RuleMark.PLACED)
            elif draw.stands is draws.stated[fact] or not self._known(fact):
                again[fact] = Arriving()
            else:
                self.tally.stale += 1
        omitted = [draw for fact, draw in shown.items() if fact not in answered]
        if len(omitted) == len(elsewhere) == 1:  # the time was moved
            self._mark(self._members_named(omitted), RuleMark.REPLACED)
            again[elsewhere[0]] = Arriving(omitted[0], RuleMark.PLACED)
        else:
            again |= dict.fromkeys(elsewhere, Arriving(None, RuleMark.PLACED))
        for fact in again:
            self._mark(self._known(fact), RuleMark.REPLACED)
        self._settle(again)
        self._leave_out_all_but(answered)
        self.tally.withdrawn += len(before - self._shown())

    def _obey(self, fact: Fact, instruction: Instruction) -> bool:
        """Apply an instruction that says more than its statement. Returns whether it did."""
        named = instruction.draws.get((self.kind, fact[IDENTITY]))
        if instruction.action == "delete":
            self._mark(self._known(fact), RuleMark.REPLACED)
            self._settle({fact: Arriving(named, RuleMark.DELETED)})
            return True
        draws = self._judge({fact: Arriving()})
        draw = draws.draw_of(fact)
        label = None if draw is None else draws.labels[id(draw)]
        if named is None:
            if label is None or not self._is_deleted(label):
                return False
            self._restate(self._members(draws, draw), fact, label)
            return True
        members = self._members_named([named])
        if self._is_hidden(named):
            self._restate(members, fact, named)
            return True
        if label == named or not members or any(each.draw == named for each in self._known(fact)):
            return False
        greatest = max((each.fact for each in members), key=order)
        if _is_dated(fact) and _is_dated(greatest) and order(fact) < order(greatest):
            self._add(fact, named, RuleMark.REPLACED).removed = self.revision.number
            self.tally.late += 1
        else:
            self._restate(members, fact, named)
        return True

    # What stands

    def _settle(self, fresh: Mapping[Fact, Arriving] = _NOTHING) -> None:
        """Let the rule decide with the statements that arrive now, and write the difference to what stands."""
        number = self.revision.number
        draws = self._judge(fresh)
        wanted = {
            draws.labels[id(draw)]: draws.facts[draw.stands] for draw in draws.ruling.draws if draw.stands is not None
        }
        ended: dict[str, Assertion] = {}
        for each in self.assertions:
            if each.removed is None:
                if each.mark not in _NO_STATEMENT and wanted.get(each.draw) == each.fact:
                    del wanted[each.draw]
                else:
                    ended[each.draw] = each
                    close(each, number, self.changes)
        self.tally.changed |= bool(wanted or ended)
        standing_in = {fact: label for label, fact in wanted.items()}
        for fact, label in standing_in.items():
            if fact not in fresh and not self._reopen(fact, label):
                self._add(fact, label, self._mark_of(fact))
        arrived = []
        for fact, arriving in fresh.items():
            draw = draws.draw_of(fact)
            place = _label(draws.stated[fact].when) if draw is None else draws.labels[id(draw)]
            assertion = self._add(fact, standing_in.get(fact, place), arriving.mark)
            assertion.removed = None if fact in standing_in else number
            arrived.append(assertion)
        others = self._shown() - {each.draw for each in arrived if each.removed is None}
        for assertion in arrived:
            self._name(assertion)
            self._count(assertion, ended.get(assertion.draw))
            if assertion.removed is None and not counts_nowhere(self.kind, assertion.fact):
                if others:
                    self.tally.notes[id(assertion.fact)].append(Note(NoteCode.SAME_NUMBER_OTHER_TIME))
                others.add(assertion.draw)
        self._set_aside(draws)

    def _holds_back(self, fact: Fact) -> bool:
        """Whether a result would count if it were not for this one, which is a text and stands."""
        if fact[STATUS] in WITHDRAWN or not counts_nowhere(self.kind, fact):
            return False
        draws, shown = self._judge(without=fact), {each.fact for each in visible(self.kind, self.assertions)}
        instead = {draws.facts[draw.stands] for draw in draws.ruling.draws if draw.stands is not None}
        return any(not counts_nowhere(self.kind, each) for each in instead - shown)

    def _judge(self, fresh: Mapping[Fact, Arriving] = _NOTHING, without: Fact | None = None) -> "JudgedFact":
        """What the rule says of all statements, with those that arrive now and without one of them."""
        claims: dict[NumberStatement, tuple[int, int, str]] = {}
        facts: dict[NumberStatement, Fact] = {}
        stated: dict[Fact, NumberStatement] = {}
        for each in sorted(self.assertions, key=_by_arrival):
            if each.fact == without or each.mark in _NO_STATEMENT:
                continue
            if each.fact not in fresh and each.fact not in stated:
                statement = self._statement(each.fact, each.added, each.ordinal, each.mark)
                claims[statement] = each.added, each.ordinal, each.draw
                facts[statement], stated[each.fact] = each.fact, statement
        for place, (fact, arriving) in enumerate(fresh.items(), len(self.assertions)):
            statement = self._statement(fact, self.revision.number, place, arriving.mark)
            facts[statement], stated[fact] = fact, statement
            if arriving.label is not None:
                claims[statement] = -1, 0, arriving.label
        ruling = judge(list(facts))
        return JudgedFact(ruling, facts, stated, _labels(ruling, claims, {each.draw for each in self.assertions}))

    def _statement(self, fact: Fact, added: int, ordinal: int, mark: str | None) -> NumberStatement:
        when = time_of(self.kind, fact)
        received = 0 if _is_dated(fact) or fact[STATUS] in _ORIGINAL else self.revision.received(added)
        minute = when.minute if when.minute is not None else (when.day or 0) * _MINUTES_OF_DAY
        return NumberStatement(
            when,
            fact[VERSION],
            fact[ISSUED],
            fact[STATUS],
            received,
            (added, minute, ordinal),
            mark in _LEFT_OUT,
            mark in _PLACED,
        )

    def _restate(self, members: Iterable[Assertion], fact: Fact, label: str) -> None:
        """State a fact in the place of these assertions, by an instruction."""
        self._mark([*members, *self._known(fact)], RuleMark.REPLACED)
        self._settle({fact: Arriving(label, RuleMark.PLACED)})

    def _leave_out_all_but(self, facts: Set[Fact]) -> None:
        """Withdraw by an instruction what is shown and not among these facts; what would be shown instead, too."""
        while omitted := [each for each in visible(self.kind, self.assertions) if each.fact not in facts]:
            draws = self._judge()
            members = self._members(draws, *[draws.draw_of(each.fact) for each in omitted])
            for each in (*members, *omitted):
                self._mark([each], RuleMark.PLACED_LEFT_OUT if each.mark in _PLACED else RuleMark.LEFT_OUT)
            self._settle()

    # The rows

    def _members(self, draws: "JudgedFact", *of: Draw | None) -> list[Assertion]:
        """The assertions of the statements of draws."""
        facts = {draws.facts[each] for draw in of if draw is not None for each in draw.members}
        return [each for each in self.assertions if each.mark not in _NO_STATEMENT and each.fact in facts]

    def _members_named(self, labels: Iterable[str]) -> list[Assertion]:
        draws, named = self._judge(), set(labels)
        return self._members(draws, *[each for each in draws.ruling.draws if draws.labels[id(each)] in named])

    def _is_deleted(self, label: str) -> bool:
        """Whether a DELETE withdrew the draw, before this submission, whose entries have no order."""
        deleted = [each for each in self._standing(label) if each.mark == RuleMark.DELETED]
        return any(each.added < self.revision.number for each in deleted)

    def _is_hidden(self, label: str) -> bool:
        """Whether an instruction withdrew the draw."""
        if self._is_deleted(label):
            return True
        return not self._standing(label) and any(
            each.draw == label and each.mark in _LEFT_OUT for each in self.assertions
        )

    def _standing(self, label: str) -> list[Assertion]:
        return [each for each in self.assertions if each.removed is None and each.draw == label]

    def _known(self, fact: Fact) -> list[Assertion]:
        return [each for each in self.assertions if each.fact == fact and each.mark != RuleMark.OVERWRITTEN]

    def _mark_of(self, fact: Fact) -> str | None:
        """The mark of the statement with this content."""
        marks = [each.mark for each in self.assertions if each.fact == fact and each.mark not in _NO_STATEMENT]
        return marks[0] if marks else None

    def _add(self, fact: Fact, draw: str, mark: str | None = None) -> Assertion:
        before = self.assertions[-1] if self.assertions else None
        if before is not None and before.added == self.revision.number:
            ordinal = before.ordinal + 1  # the last one was added here
        else:
            ordinal = sum(1 for each in self.assertions if each.added == self.revision.number)
        assertion = Assertion(fact, self.revision.number, ordinal=ordinal, draw=draw, mark=mark)
        self.assertions.append(assertion)
        self.changes.added.append(assertion)
        return assertion

    def _reopen(self, fact: Fact, draw: str) -> bool:
        """Let an assertion stand that this revision ended, or that it stored without letting it stand."""
        number = self.revision.number
        for each in self.assertions:
            if each.removed == number and each.draw == draw and each.fact == fact and each.mark not in _NO_STATEMENT:
                each.removed = None
                if each.added < number:
                    self.changes.removed.remove(each)
                return True
        return False

    def _set_aside(self, draws: "JudgedFact") -> None:
        """Mark the assertions that are ambiguous, and no others, as such."""
        aside = {draws.facts[statement]: reason for statement, reason in draws.ruling.aside.items()}
        for each in self.assertions:
            if each.mark is None or each.mark in AMBIGUOUS:
                self._mark([each], aside.get(each.fact))

    def _mark(self, assertions: Iterable[Assertion], mark: str | None) -> None:
        for each in assertions:
            if each.mark != mark:
                if each.added < self.revision.number:
                    self.changes.marked.setdefault(each, each.mark)
                each.mark = mark

    # The counts

    def _shown(self) -> set[str]:
        return {each.draw for each in visible(self.kind, self.assertions)}

    def _count(self, stood: Assertion, ended: Assertion | None) -> None:
        """Count an assertion that arrived, and note if only its arrival decided."""
        notes = self.tally.notes.setdefault(id(stood.fact), [])
        if stood.removed is not None:
            self.tally.late += 1
        elif ended is None or (stood.mark == RuleMark.PLACED and counts_nowhere(self.kind, ended.fact)):
            self.tally.added += 1
        else:
            self.tally.superseded += 1
            if self._only_arrival_decided(stood.fact, ended.fact):
                self.tally.unversioned_corrections += 1
                notes.append(Note(NoteCode.UNVERSIONED_CORRECTION))

    def _only_arrival_decided(self, fact: Fact, other: Fact) -> bool:
        if order(fact) != order(other):
            return False
        return (time_of(self.kind, fact).minute is None) == (time_of(self.kind, other).minute is None)

    def _name(self, assertion: Assertion) -> None:
        """Remember the draw of a fact that was sent."""
        if assertion.draw:
            self.tally.draws[self.kind, assertion.fact[IDENTITY]] = assertion.draw


@dataclass(slots=True)
class JudgedFact:
    """What the rule says of the statements of one identity: the fact of each and its statement, and the name of each
    draw by `id()`.
    """

    ruling: Ruling
    facts: dict[NumberStatement, Fact]
    stated: dict[Fact, NumberStatement]
    labels: dict[int, str]

    def draw_of(self, fact: Fact) -> Draw | None:
        """The draw of a fact."""
        return self.ruling.draw_of.get(self.stated[fact])


_ORIGINAL = {"preliminary", "final"}
_MINUTES_OF_DAY = 1440


def _labels(ruling: Ruling, claims: Mapping[NumberStatement, tuple[int, int, str]], used: set[str]) -> dict[int, str]:
    """A name for each draw: the name that its first assertion has already, so that names do not change.

    The first draw of a number has an empty name, a new one is named after the time of its first statement.
    """
    claimed = [
        (min((claims[each] for each in draw.members if each in claims), default=None), draw) for draw in ruling.draws
    ]
    labels: dict[int, str] = {}
    taken: set[str] = set()
    for claim, draw in sorted(claimed, key=lambda each: each[0] or (2**62, 0, "")):
        first = min(draw.members, key=lambda each: each.arrival)
        label = claim[2] if claim is not None else "" if "" not in used else _label(first.when)
        if label in taken:
            label = _label(first.when)
        while label in taken:
            label += "+"
        taken.add(label)
        labels[id(draw)] = label
    return labels


def _label(when: FactTime) -> str:
    if when.minute is not None:
        return f"m{when.minute}"
    return "t" if when.day is None else f"d{when.day}"


def _by_arrival(assertion: Assertion) -> tuple[int, int]:
    return assertion.added, assertion.ordinal


def _is_dated(fact: Fact) -> bool:
    return fact[VERSION] is not None or fact[ISSUED] is not None


def _put_attribute(
    assertions: list[Assertion], stated: Sequence[Fact], number: int, changes: Changes, tally: Tally
) -> None:
    current = standing(assertions)
    for given in stated:
        fact = _as_issued(given, assertions)
        if current is not None and current.fact == fact:
            tally.unchanged += 1
        elif current is None:
            _stand(assertions, fact, number, changes)
            tally.added += 1
        else:
            _supersede(assertions, current, fact, number, changes, tally)
    if not stated and current is not None and current.fact[STATUS] not in WITHDRAWN:
        close(current, number, changes)
        tally.withdrawn += 1


def _as_issued(fact: Fact, assertions: Sequence[Assertion]) -> Fact:
    """The fact; an attribute without a time of issue gets the time of the known assertion.

    So a document that was read and is put again is the same, and what the source issues later is newer.
    """
    if not isinstance(fact, AttributeFact) or fact.issued is not None or not assertions:
        return fact
    return fact._replace(issued=_greatest(assertions).fact[ISSUED])


def _greatest(assertions: Sequence[Assertion]) -> Assertion:
    """The assertion that stands or, if none stands, the greatest one."""
    return standing(assertions) or max(assertions, key=lambda known: (order(known.fact), known.added, known.ordinal))


def _assert(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    """Apply an attribute that arrives."""
    current = standing(assertions)
    if current is not None and current.fact == fact:
        tally.unchanged += 1
        return
    if order(fact) < order(_greatest(assertions).fact) or any(known.fact == fact for known in assertions):
        _keep_below(assertions, fact, number, changes, tally)
    elif current is None:
        _stand(assertions, fact, number, changes)
        tally.added += 1
    else:
        _supersede(assertions, current, fact, number, changes, tally)


def _stand(assertions: list[Assertion], fact: Fact, number: int, changes: Changes) -> Assertion:
    ordinal = sum(1 for known in assertions if known.added == number)
    assertion = Assertion(fact, number, ordinal=ordinal)
    assertions.append(assertion)
    changes.added.append(assertion)
    return assertion


def _supersede(
    assertions: list[Assertion], current: Assertion, fact: Fact, number: int, changes: Changes, tally: Tally
) -> None:
    tally.superseded += 1
    tally.unversioned_corrections += order(fact) == order(current.fact)
    tally.withdrawn += fact[STATUS] in WITHDRAWN and current.fact[STATUS] not in WITHDRAWN
    close(current, number, changes)
    _stand(assertions, fact, number, changes)


def _keep_below(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    """Keep an assertion that does not stand: a known one is stale, a new one is stored as late."""
    if any(known.fact == fact for known in assertions):
        tally.stale += 1
    else:
        _stand(assertions, fact, number, changes).removed = number
        tally.late += 1


def close(assertion: Assertion, number: int, changes: Changes) -> None:
    """Let an assertion stand no longer, from a revision on."""
    assertion.removed = number
    if assertion.added < number:
        changes.removed.append(assertion)
