"""The same infusion, event or period of a glucocorticoid from two sources: which facts may be one, and which counts.

Two sources number one infusion differently, and one of them sends a date, the other a date-time. Such facts are kept
both. They are a pair, and a decision about the pair says whether they are one: a person says `same` or `different`, or
the service found at intake that their content proves it (`proven`). A decision is an attribute of the patient, so it
has revisions, hashes and a history as every fact has, and the erasure of the person deletes it. Of the drugs only
glucocorticoids are compared, because their doses are added up.

A decision names two facts by their identities and says nothing of their content. Which facts count is a function of the
facts that stand and of the decisions. So the order of arrival does not matter, and what is sent again changes nothing.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from app.timeline.drugs import drug_of
from app.timeline.facts import MINUTE, AttributeFact, EventFact, InfusionFact, MedicationFact, names_an_order
from app.timeline.times import EPOCH, EPOCH_DAY
from app.timeline.vocabulary import DAILY_MILLIGRAMS

Compared = InfusionFact | MedicationFact | EventFact
ACompared = TypeVar("ACompared", InfusionFact, MedicationFact, EventFact)
Decided = Literal["same", "different", "proven"]
PairKind = Literal["infusion", "medication", "adverse_event"]
"""The kinds of facts that are compared, with their names in documents."""
KIND_OF: dict[PairKind, str] = {"infusion": "infusions", "medication": "medications", "adverse_event": "events"}
NAMED: dict[str, PairKind] = {of: kind for kind, of in KIND_OF.items()}
"""The same, the other way round."""
PREFIX = "decision:"
"""How the names of the attributes begin that are decisions."""
NAME_PATTERN = r"^[0-9a-f]{32}$"
"""The rest of these names: the name of a pair."""
MOST_COMPARED = 100
"""With how many facts of the same word and day a fact is compared."""

_GRAMS = {"g": ("g", 1.0), "mg": ("g", 1e-3), "g/kg": ("g/kg", 1.0), "mg/kg": ("g/kg", 1e-3)}
_MIDNIGHT = "T00:00"
_UTC = ZoneInfo("UTC")


class Pair(NamedTuple):
    """Two facts of one patient: what they are, and their identities in code-point order."""

    kind: PairKind
    first: str
    second: str

    @property
    def name(self) -> str:
        """A name of the pair, the same for the same two facts."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:32]


class Decision(NamedTuple):
    """Whether the facts of a pair are one; who said so, if a person did, and why."""

    pair: Pair
    decided: Decided
    by: str | None = None
    reason: str | None = None


class UndecidedPair(NamedTuple):
    """Two facts that both count and may be one: what they are, their word, and the last day on which they may be one,
    counted from 1970-01-01 (`None`: no day is the last one, or none is known).
    """

    kind: PairKind
    word: str
    last_day: int | None


def pair_of(kind: PairKind, one: str, other: str) -> Pair:
    """The pair of the facts with these identities."""
    return Pair(kind, *sorted((one, other)))


def decision_attribute(decision: Decision, issued: int | None, status: str = "final") -> AttributeFact:
    """A decision as an attribute of the patient. `issued` is when it was made; the latest one stands."""
    pair, decided, by, reason = decision
    content = {"kind": pair.kind, "facts": [pair.first, pair.second], "decision": decided, "by": by, "reason": reason}
    value = json.dumps({name: each for name, each in content.items() if each is not None}, sort_keys=True)
    return AttributeFact(PREFIX + pair.name, None, None, None, issued, status, value)


def decision_in(value: str) -> Decision:
    """The decision of the JSON text of an attribute."""
    content = json.loads(value)
    return Decision(
        pair_of(content["kind"], *content["facts"]), content["decision"], content.get("by"), content.get("reason")
    )


def decisions_in(attributes: Mapping[str, str]) -> list[Decision]:
    """The decisions among the attributes of a patient, which are JSON texts by name."""
    return [decision_in(value) for name, value in attributes.items() if name.startswith(PREFIX)]


def word_in(fact: Compared) -> str:
    """What a fact is about as its sender writes it: its product, its drug or its term."""
    if isinstance(fact, MedicationFact):
        return fact.drug
    return fact.product if isinstance(fact, InfusionFact) else fact.term


def word_of(fact: Compared) -> str:
    """The same in one spelling; of a drug its international name."""
    if isinstance(fact, MedicationFact):
        drug = drug_of(fact.drug)
        return fact.drug if drug is None else drug.name
    return word_in(fact).strip().casefold()


def is_compared(fact: Compared) -> bool:
    """Whether a fact is compared with others: of the drugs only glucocorticoids."""
    drug = drug_of(fact.drug) if isinstance(fact, MedicationFact) else None
    return not isinstance(fact, MedicationFact) or (drug is not None and drug.prednisolone_equivalent is not None)


def day_of(fact: Compared, zone: ZoneInfo | None) -> int | None:
    """The calendar day of a fact: of an instant in the zone of the study, if it declares one; else as written. A period
    has no single one.
    """
    if isinstance(fact, MedicationFact):
        return None
    if zone is None or fact.instant is None:
        return fact.day
    return (EPOCH + timedelta(microseconds=fact.instant)).astimezone(zone).date().toordinal() - EPOCH_DAY


def times_agree(one: Compared, other: Compared, zone: ZoneInfo | None) -> bool:
    """Whether two times may be one: the same minute, or the same day if one is a date. A month or a year agrees with
    every day in it; without any onset, two events agree. Two periods agree if they are one, or overlap by more than a
    day on which one ends and the other begins.
    """
    if isinstance(one, MedicationFact) or isinstance(other, MedicationFact):
        return isinstance(one, MedicationFact) and isinstance(other, MedicationFact) and _overlap(one, other)
    if one.instant is not None and other.instant is not None:
        return one.instant // MINUTE == other.instant // MINUTE
    days = [day_of(each, zone) for each in (one, other)]
    if None not in days:
        return days[0] == days[1]
    texts = [getattr(each, "onset", None) or "" for each in (one, other)]
    if not all(texts):
        return texts[0] == texts[1]
    short, long = sorted(texts, key=len)
    return long.startswith(short)


def _overlap(one: MedicationFact, other: MedicationFact) -> bool:
    ends = [each.end_day for each in (one, other) if each.end_day is not None]
    return one.start_day == other.start_day or max(one.start_day, other.start_day) < min(ends, default=math.inf)


def are_numbered_apart(one: Compared, other: Compared) -> bool:
    """Whether one source gave both facts a number: then it says itself that they are two. Of periods it is enough that
    they have one source, which changes doses so. What was ordered and what was taken are two as well.
    """
    if isinstance(one, MedicationFact):
        return one.source == other.source or names_an_order(one.identity) != names_an_order(other.identity)
    return one.id is not None and other.id is not None and one.source == other.source


def may_be_same(one: Compared, other: Compared, zone: ZoneInfo | None) -> bool:
    """Whether two facts may be one: the same word, times that agree, and for infusions no other dose. Periods of two
    sources may be one with two doses: one of them may be late.
    """
    if one.identity == other.identity or are_numbered_apart(one, other) or word_of(one) != word_of(other):
        return False
    return times_agree(one, other, zone) and _same_dose(one, other) is not False


def are_proven_same(one: Compared, other: Compared) -> bool:
    """Whether the content of two facts proves that they are one.

    Both have the same instant to the microsecond, which is no midnight, because a date is often written so. Infusions
    have the same product and the same dose. Events have the same term, severity, seriousness and relation. Periods have
    the same drug, the same daily dose, the same first day, and the same last day or both none.
    """
    if isinstance(one, MedicationFact) and isinstance(other, MedicationFact):
        same_days = (one.start_day, one.end_day) == (other.start_day, other.end_day)
        return same_days and may_be_same(one, other, None) and _same_daily_dose(one, other)
    if isinstance(one, MedicationFact) or isinstance(other, MedicationFact):
        return False
    if one.instant is None or one.instant != other.instant or not may_be_same(one, other, None):
        return False
    if isinstance(one, InfusionFact) and isinstance(other, InfusionFact):
        return _MIDNIGHT not in one.time + other.time and _same_dose(one, other) is True
    if isinstance(one, EventFact) and isinstance(other, EventFact):
        alike = (one.severity, one.serious, one.related) == (other.severity, other.serious, other.related)
        return alike and _MIDNIGHT not in f"{one.onset} {other.onset}"
    return False


def _same_dose(one: Compared, other: Compared) -> bool | None:
    """Whether two infusions have one dose; `None` if it is not known, or needs the weight. Events have no dose."""
    doses = [_dose(each) for each in (one, other) if isinstance(each, InfusionFact)]
    known = [dose for dose in doses if dose is not None]
    if len(known) < 2 or known[0][1] != known[1][1]:
        return None
    return math.isclose(known[0][0], known[1][0], rel_tol=1e-9)


def _same_daily_dose(one: MedicationFact, other: MedicationFact) -> bool:
    """Whether two periods have one known dose a day, in units that can be converted or in the same one."""
    if one.dose is None or other.dose is None or one.unit is None or other.unit is None:
        return False
    if one.unit == other.unit:
        return one.dose == other.dose
    factors = [DAILY_MILLIGRAMS.get(each.unit or "") for each in (one, other)]
    doses = [each.dose * float(factor) for each, factor in zip((one, other), factors, strict=True)
             if each.dose is not None and factor is not None]  # fmt: skip
    return len(doses) == 2 and math.isclose(*doses, rel_tol=1e-9)


def _dose(fact: InfusionFact) -> tuple[float, str] | None:
    """A dose in g or in g per kg of body weight."""
    unit = _GRAMS.get(fact.unit or "")
    return None if fact.dose is None or unit is None else (fact.dose * unit[1], unit[0])


def alike(
    sent: Iterable[Compared], standing: Iterable[Compared], zone: ZoneInfo | None
) -> Iterator[tuple[Compared, Compared]]:
    """Each fact that was sent with each one that stands and may be the same. A fact is compared with the first
    `MOST_COMPARED` of its word and day only.
    """
    everything = [fact for fact in standing if is_compared(fact)]
    if len({fact.identity for fact in everything}) < 2:
        return
    of_day: dict[tuple[str, int | None], list[Compared]] = {}
    of_word: dict[str, list[Compared]] = {}
    for fact in everything:
        of_day.setdefault((word_of(fact), day_of(fact, zone)), []).append(fact)
        of_word.setdefault(word_of(fact), []).append(fact)
    for fact in (each for each in sent if is_compared(each)):
        word, day = word_of(fact), day_of(fact, zone)
        near = of_word[word] if day is None else [*of_day.get((word, day), ()), *of_day.get((word, None), ())]
        for other in islice((each for each in near if each is not fact), MOST_COMPARED):
            if may_be_same(fact, other, zone):
                yield fact, other


def alike_between(
    records: Sequence[Sequence[Compared]], standing: Iterable[Compared], zone: ZoneInfo | None
) -> Iterator[tuple[Compared, Compared]]:
    """The facts of different records of one person that may be the same, each pair once.

    `records` has what each record states, `standing` those of these facts that count. If a record states both facts of
    a pair, they were compared when they arrived. One instant that is written with two days is compared, too.
    """
    record_of = {id(fact): number for number, facts in enumerate(records) for fact in facts}
    stated = [{fact.identity for fact in facts} for facts in records]
    mine = list(standing)
    written = {(id(fact), id(other)): (fact, other) for fact, other in alike(mine, mine, zone)}
    at_once = ((fact, other) for fact, other in alike(mine, mine, _UTC) if are_proven_same(fact, other))
    for fact, other in (written | {(id(fact), id(other)): (fact, other) for fact, other in at_once}).values():
        both = {fact.identity, other.identity}
        if record_of[id(fact)] < record_of[id(other)] and not any(both <= each for each in stated):
            yield fact, other


def precedence(fact: Compared) -> tuple[Any, ...]:
    """The sort key of facts that are one: the first one counts, and its fields alone.

    More knowledge comes first: an instant before a date, a known dose, severity or last day before an absent one. Of
    equal ones the one that its source issued last comes first, then the first identity in code-point order.
    """
    unknown = [] if isinstance(fact, MedicationFact) else [fact.instant is None, fact.day is None]
    names: tuple[str, ...] = ("severity", "serious", "related")
    if not isinstance(fact, EventFact):
        names = ("dose", "course") if isinstance(fact, InfusionFact) else ("end_day", "dose")
    unknown += [getattr(fact, name) is None for name in names]
    issued = -math.inf if fact.issued is None else fact.issued
    return (*unknown, -issued, fact.identity)


def counted(
    kind: str, facts: Sequence[ACompared], decisions: Iterable[Decision], zone: ZoneInfo | None
) -> list[ACompared]:
    """The facts of one person that count, of those that stand: of facts that are one, only the first (`precedence`).

    Facts are one if decisions say so, directly or through other facts that stand, while their times agree. A proven
    pair is one only while its content proves it. Two facts never are one if somebody decided that they are different,
    or if one source numbers both: if a third fact is the same as either, it is one with the first of them.
    """
    said = {each.pair: each.decided for each in decisions if KIND_OF[each.pair.kind] == kind}
    of_fact: dict[str, list[ACompared]] = {}
    for fact in facts:
        of_fact.setdefault(fact.identity, []).append(fact)
    groups: dict[str, set[str]] = {}
    for pair, decided in said.items():
        both = [(one, other) for one in of_fact.get(pair.first, ()) for other in of_fact.get(pair.second, ())]
        agree = any(times_agree(*each, zone) for each in both)
        if (decided == "same" and agree) or (decided == "proven" and any(are_proven_same(*each) for each in both)):
            joined = groups.get(pair.first, {pair.first}) | groups.get(pair.second, {pair.second})
            groups |= dict.fromkeys(joined, joined)
    hidden: set[int] = set()
    for group in {id(each): each for each in groups.values()}.values():
        mine = sorted((fact for identity in group for fact in of_fact.get(identity, ())), key=precedence)
        ones: list[list[ACompared]] = []
        for fact in mine:
            others = next((o for o in ones if all(_are_one(kind, each, fact, said, zone) for each in o)), None)
            if others is None:
                ones.append([fact])
            else:
                others.append(fact)
                hidden.add(id(fact))
    return [fact for fact in facts if id(fact) not in hidden]


def undecided(
    named: PairKind,
    facts: Sequence[Compared],
    pairs: Iterable[Pair],
    decisions: Sequence[Decision],
    zone: ZoneInfo | None,
) -> Iterator[UndecidedPair]:
    """Of the pairs of one person that wait for a decision, those on which it depends which facts count.

    `facts` are those that stand. A pair that another decision or the content joins meanwhile is not among them, nor one
    that was decided under another record of the person.
    """
    kind, said = KIND_OF[named], {each.pair: each.decided for each in decisions}
    of_fact: dict[str, list[Compared]] = {}
    for fact in facts:
        of_fact.setdefault(fact.identity, []).append(fact)
    for pair in pairs:
        both = [(one, other) for one in of_fact.get(pair.first, ()) for other in of_fact.get(pair.second, ())]
        days = [_last_day(*each, zone) for each in both if times_agree(*each, zone)]
        if pair.kind != named or not days or said.get(pair, "proven") != "proven":
            continue
        linked = _linked(pair, said)
        mine: list[Any] = [fact for identity in sorted(linked) for fact in of_fact.get(identity, ())]
        decided = Decision(pair, "same")
        if len(counted(kind, mine, [*decisions, decided], zone)) < len(counted(kind, mine, decisions, zone)):
            known = [day for day in days if day is not None]
            yield UndecidedPair(named, word_of(both[0][0]), max(known) if len(known) == len(days) else None)


def _linked(pair: Pair, said: Mapping[Pair, Decided]) -> set[str]:
    """The facts of a pair, and those that decisions join with either, directly or through others."""
    linked = {pair.first, pair.second}
    joins = [{each.first, each.second} for each, decided in said.items() if decided != "different"]
    while more := [each for each in joins if each & linked and not each <= linked]:
        linked.update(*more)
    return linked


def _last_day(one: Compared, other: Compared, zone: ZoneInfo | None) -> int | None:
    """The last day on which two facts may be one."""
    if isinstance(one, MedicationFact) or isinstance(other, MedicationFact):
        return min((each.end_day for each in (one, other) if isinstance(each, MedicationFact)
                    and each.end_day is not None), default=None)  # fmt: skip
    return max((day for each in (one, other) if (day := day_of(each, zone)) is not None), default=None)


def stated_apart(facts: Sequence[Compared], zone: ZoneInfo | None) -> Iterator[tuple[Compared, Compared]]:
    """The facts of one submission that may be the same, as they are noted at intake: two sources state them."""
    return ((one, other) for one, other in alike(facts, facts, zone) if one.source != other.source)


def _are_one(kind: str, one: Compared, other: Compared, said: Mapping[Pair, Decided], zone: ZoneInfo | None) -> bool:
    if one.identity == other.identity or are_numbered_apart(one, other):
        return False
    direct = said.get(pair_of(NAMED[kind], one.identity, other.identity))
    if direct == "proven":
        return are_proven_same(one, other)
    return direct != "different" and times_agree(one, other, zone)
