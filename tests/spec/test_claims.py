"""The rule book of claims: each rule that is broken on purpose is noticed by its cases, and the page is up to date."""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.analyses import claims
from app.analyses.claims import BECAUSE
from tests.spec.book import CLAIMS
from tests.spec.render import sentence
from tests.spec.render_claims import CLAIMS_PAGE, claims_page
from tests.spec.test_rules import CLAIMED, departures

MUTANTS = (
    ("change", "self.p <= alpha", "self.p < alpha"),
    ("change", "self.p is not None and self.p <= alpha", "self.p is not None"),
    ("change", "self.centre > 0", "self.centre < 0"),
    ("change", 'rises == (better == "higher")', "rises"),
    ("change", 'because = ["not_significant"]', 'because = ["significant"]'),
    ("onset", "tested.rises is not last.rises", "False"),
    ("onset", "if not last.significant(alpha):", "if False:"),
    ("onset", "not tested.significant(alpha) or ", ""),
    ("onset", 'found.direction == "improvement"', "found.direction"),
    ("onset", 'if last.p is None else "last_week_not_significant"', 'if last.p else "last_week_not_significant"'),
    ("change_of_change", 'because = ["no_p"]', 'because = ["significant"]'),
    ("change_of_change", "elif not tested.significant(alpha):", "elif False:"),
    ("change_of_change", "p = test.p_at_most if", "p = test.p if"),
    ("rate_of_all_treated", "supported=count.of > 0", "supported=True"),
    ("rate_of_all_treated", '"missing_counted_as_none" if count.not_judged', '"missing_counted_as_none" if False'),
    ("rate_of_all_treated", "if number:", "if not number:"),
    ("median_time_normal", '"at_risk" if at_risk else', '"at_risk" if n else'),
    ("median_time_normal", 'because = ["no_median" if value is None else', 'because = ["no_median" if False else'),
    ("median_time_normal", "if any(before.values()):", "if before:"),
    ("median_time_to_score", '"at_risk" if at_risk else', '"at_risk" if n else'),
    ("median_time_to_score", "if any(before.values()):", "if before:"),
    ("median_time_to_low_dose", '"at_risk" if at_risk else', '"at_risk" if n else'),
    ("median_time_to_low_dose", "if any(before.values()):", "if before:"),
    ("difference", "elif test.p <= alpha:", "elif test.p < alpha:"),
    ("difference", "elif test.p <= alpha:", "elif test.p <= 1:"),
    ("difference", 'adjust([test.p for test in tests], "holm")', 'adjust([test.p for test in tests], "none")'),
    ("description", "supported=n > 0", "supported=True"),
    ("change_by_model", 'because = ["not_significant"]', 'because = ["significant"]'),
    ("change_by_model", "self.centre > 0", "self.centre < 0"),
)
"""The rule, a part of the rule book, and what stands there instead."""


@contextmanager
def broken(part: str, instead: str) -> Iterator[None]:
    """The rule book with another part: the functions keep their names everywhere and run other code."""
    source = Path(claims.__file__).read_text(encoding="utf-8")
    assert part in source, part
    other = types.ModuleType(claims.__name__)
    other.__dict__.update(claims.__dict__)
    exec(compile(source.replace(part, instead), claims.__file__, "exec"), other.__dict__)  # noqa: S102 - our own source
    kept = {}
    for mine, its in _functions(claims, other):
        kept[mine] = mine.__code__
        mine.__code__ = its.__code__
    try:
        yield
    finally:
        for function, code in kept.items():
            function.__code__ = code


def _functions(mine: object, its: object) -> Iterator[tuple[types.FunctionType, types.FunctionType]]:
    """The functions of the module and of its class `ChangeTest`, in pairs."""
    for name, found in vars(mine).items():
        if isinstance(found, types.FunctionType) and found.__module__ == claims.__name__:
            yield found, vars(its)[name]
        elif isinstance(found, property):
            yield found.fget, vars(its)[name].fget
        elif found is claims.ChangeTest:
            yield from _functions(found, vars(its)[name])


@pytest.mark.parametrize(("name", "part", "instead"), MUTANTS)
def test_a_rule_that_is_broken_on_purpose_fails_a_case_of_its_own(name, part, instead):
    [rule] = [rule for rule in CLAIMS.rules if rule.name == name]
    with broken(part, instead):
        noticed = [case.says for case in rule.cases if departures(case)]
    assert noticed


def test_the_rules_are_whole_again_after_they_were_broken():
    [rule] = [rule for rule in CLAIMS.rules if rule.name == "change"]
    assert [case.says for case in rule.cases if departures(case)] == []


def test_every_rule_is_broken_at_least_once():
    assert {name for name, _, _ in MUTANTS} == {rule.name for rule in CLAIMS.rules}


def test_every_rule_is_shown_supported_and_not_supported():
    sides = {
        rule.name: {
            value
            for case in rule.cases
            for reading, value in (case.expect or {}).items()
            if reading.startswith(f"claim {rule.name}") and reading.endswith("supported") and value is not None
        }
        for rule in CLAIMS.rules
    }
    assert sides == {name: {True, False} for name in sides}


def test_every_code_of_what_decides_is_known_and_on_the_page():
    page = claims_page()
    named = {
        code
        for _, case in CLAIMED
        for reading, value in (case.expect or {}).items()
        if reading.endswith("because")
        for code in value.split(", ")
    }
    assert named <= {*BECAUSE}
    assert [code for code in BECAUSE if f"| `{code}` |" not in page] == []


def test_the_page_is_the_rendering_of_the_rule_book():
    assert CLAIMS_PAGE.read_text(encoding="utf-8") == claims_page(), "run `make docs`"
    assert [sentence(case) for _, case in CLAIMED if sentence(case) not in claims_page()] == []
