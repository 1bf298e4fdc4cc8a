"""How the tests of one answer were adjusted, in one sentence made from its own numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from app.estimate.rates.poisson import RateRatio
from app.estimate.results import Result, TestResult

NOT_ADJUSTED = "nothing is adjusted over measures, scales, definitions, subgroups, interim looks or other answers"


_LEAVES = (str, float, int, type(None))
"""Most values inside an answer: none of them is or has a test."""


class Tested(NamedTuple):
    """One test: its method, whether its p value is known, and how that was adjusted."""

    method: str
    known: bool
    adjustment: str | None


def in_one_sentence(parts: Iterable[object], of_a_family: int, over: str | None) -> str:
    """Which tests the `parts` of an answer hold, how their p values were adjusted, and what was not adjusted.

    `of_a_family` is the number of claims that adjust p values again. `over` names the p values that one adjustment of
    the answer covers. Tests without a p value are not counted.
    """
    tests = [test for test in _tests(tuple(parts)) if test.known]
    if not tests:
        return "This answer tests nothing, so that nothing is adjusted."
    kinds = Counter(test.method for test in tests)
    counts = ", ".join(f"{count} {method}" for method, count in kinds.items())
    sentences = [f"{_words(len(tests))} with a p value ({counts})"]
    methods = Counter(test.adjustment for test in tests if test.adjustment not in (None, "none"))
    sentences += [f"{count} adjusted by {method} over {over}" for method, count in methods.items()]
    if alone := len(tests) - methods.total():
        sentences.append(f"{alone} not adjusted")
    if of_a_family:
        sentences.append(f"the {of_a_family} claims of difference rest on p values adjusted by holm as their texts say")
    return "; ".join([*sentences, NOT_ADJUSTED]) + "."


def _tests(value: object) -> Iterator[Tested]:
    """Every p value inside a value, but not in the lists of patients."""
    if isinstance(value, TestResult):
        known = any(p is not None for p in (value.p, value.p_below, value.p_adjusted))
        yield Tested(value.method, known, value.adjustment)
    elif isinstance(value, RateRatio):
        yield Tested("poisson_exact", value.p is not None, None)
    elif isinstance(value, Result):
        yield from _tests([part for name, part in value if name != "patients"])
    elif isinstance(value, list | tuple):
        for item in value:
            if not isinstance(item, _LEAVES):
                yield from _tests(item)
    elif isinstance(value, Mapping):
        yield from _tests(list(value.values()))


def _words(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"
