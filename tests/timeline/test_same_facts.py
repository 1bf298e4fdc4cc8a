"""Which of several facts count, where decisions about pairs of them contradict each other."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.timeline.facts import InfusionFact
from app.timeline.same_facts import Decision, are_numbered_apart, counted, pair_of, precedence
from tests.repetition import repeats


def infusion(identity, source=None, number=None, dose=None):
    unit = None if dose is None else "g"
    return InfusionFact(identity, source, number, None, None, "final", "2005-04-11", 12884, None, False, "IVIG", dose,
                        unit, None)  # fmt: skip


def said(one, other, decided="same"):
    return Decision(pair_of("infusion", one, other), decided)


APART = {
    "numbered by one source": ([infusion("a", "EHR", "1"), infusion("c", "EHR", "2")], []),
    "decided to be different": ([infusion("a"), infusion("c")], [said("a", "c", "different")]),
}


@pytest.mark.parametrize("why", APART)
@pytest.mark.parametrize("dose", [30.0, None])
def test_two_infusions_that_are_two_count_twice_also_if_a_third_one_is_the_same_as_either(why, dose):
    two, decided = APART[why]
    facts, decided = [*two, infusion("b", dose=dose)], [*decided, said("a", "b"), said("b", "c")]
    found = {tuple(sorted(each.identity for each in counted("infusions", list(order), decided, None)))
             for order in permutations(facts)}  # fmt: skip
    assert found == {("b", "c") if dose else ("a", "c")}


FACTS = [infusion(name, source, number, dose) for name, source, number, dose in (
    ("a", "EHR", "1", None), ("b", None, None, 30.0), ("c", "EHR", "2", 30.0), ("d", "PDMS", "1", None),
    ("e", "PDMS", "2", 20.0), ("f", None, None, None),
)]  # fmt: skip


@settings(max_examples=repeats(200, thorough=2000))
@given(st.dictionaries(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")).filter(lambda p: p[0] < p[1]),
                       st.sampled_from(["same", "same", "different"])), st.permutations(FACTS))  # fmt: skip
def test_facts_that_are_apart_are_never_one_and_the_order_does_not_matter(pairs, order):
    decisions = [said(*pair, decided) for pair, decided in pairs.items()]
    counting = {each.identity for each in counted("infusions", list(order), decisions, None)}
    assert counting == {each.identity for each in counted("infusions", FACTS, decisions[::-1], None)}
    links = {pair for pair, decided in pairs.items() if decided == "same"}
    apart = {pair for pair, decided in pairs.items() if decided == "different"}
    apart |= {(a.identity, b.identity) for a in FACTS for b in FACTS if a.identity < b.identity
              and are_numbered_apart(a, b)}  # fmt: skip
    reach = {each.identity: {each.identity} for each in FACTS}
    for _ in FACTS:
        for a, b in links:
            joined = reach[a] | reach[b]
            for each in joined:
                reach[each] = joined
    whole = {frozenset(each) for each in reach.values()}
    expected = set()
    for group in whole:
        heads: list[list[str]] = []
        for fact in sorted((each for each in FACTS if each.identity in group), key=precedence):
            for ones in heads:
                if not any((min(o, fact.identity), max(o, fact.identity)) in apart for o in ones):
                    ones.append(fact.identity)
                    break
            else:
                heads.append([fact.identity])
        expected |= {ones[0] for ones in heads}
    assert counting == expected
