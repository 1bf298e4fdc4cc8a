"""The service gives the expected answers of every case of its definitions."""

from collections import Counter
from typing import get_args

import pytest

from app.derive.reasons import ExclusionReason, FlagCode
from app.protocol.conventions import Conventions
from app.protocol.presets import PRESETS
from app.timeline.vocabulary import STATUSES, Comparator, Relation
from tests.spec.book import CLAIMS, ROWS, RULES
from tests.spec.case_text import then
from tests.spec.readings import agrees, read
from tests.spec.render import TARGET, rendering, sentence
from tests.spec.rule import Case, Value
from tests.spec.scene import Answers, refusals

CASES = [(rule, case) for rule in RULES for case in rule.cases]
CONVENTIONS = [
    (name, choice) for name, field in Conventions.model_fields.items() for choice in get_args(field.annotation)
]


CLAIMED = [(rule, case) for rule in CLAIMS.rules for case in rule.cases]


def _sentences() -> list:
    return [pytest.param(case, id=f"{rule.name}: {case.says}") for rule, case in (*CASES, *CLAIMED)]


def departures(case: Case) -> dict:
    """The readings that are not those that the case expects."""
    answers = Answers(case)
    readings = {name: read(answers, name) for name in case.expect or {}}
    return {name: readings[name] for name, value in (case.expect or {}).items() if not agrees(readings[name], value)}


@pytest.mark.parametrize("case", _sentences())
def test_the_answers_say_what_the_definition_says(case: Case):
    if case.refused:
        assert refusals(case) == {case.refused}
        return
    assert departures(case) == {}, f"expected {case.expect}"


def test_every_row_of_the_specification_has_a_rule_in_its_order():
    assert tuple(dict.fromkeys(rule.row for rule in RULES)) == ROWS


@pytest.mark.parametrize("row", [row for row in ROWS if row != "reference cohort"])
def test_every_row_is_shown_from_both_sides(row: str):
    """A reading has two values among the cases of the row, or one case is answered and another is refused."""
    cases = [case for rule, case in CASES if rule.row == row]
    readings = {(name, str(value)) for case in cases for name, value in (case.expect or {}).items()}
    sides = Counter(name for name, _ in readings)
    refused = [case for case in cases if case.refused]
    assert any(count > 1 for count in sides.values()) or 0 < len(refused) < len(cases)


def test_every_case_says_something_and_no_two_of_a_rule_say_the_same():
    assert [case.says for _, case in CASES if not case.expect and not case.refused] == []
    counts = Counter((rule.name, case.says) for rule, case in CASES)
    assert {says: count for says, count in counts.items() if count > 1} == {}
    assert [case.says for _, case in CASES if not case.says.isascii()] == []


def test_every_rule_has_a_name_of_its_own():
    assert max(Counter(rule.name for rule in RULES).values()) == 1


def test_every_preset_is_shown():
    assert {case.preset for _, case in CASES} == set(PRESETS)


@pytest.mark.parametrize(("convention", "choice"), CONVENTIONS)
def test_every_choice_of_every_convention_is_shown(convention: str, choice: str):
    named = [case for _, case in CASES if (case.expect or {}).get(f"named convention {convention}") == choice]
    assert named


@pytest.mark.parametrize("reason", ExclusionReason)
def test_every_reason_for_leaving_a_patient_out_is_shown(reason: str):
    expected = [value for _, case in CASES for value in (case.expect or {}).values()]
    assert reason in expected


@pytest.mark.parametrize("flag", FlagCode)
def test_every_flag_is_shown_raised_and_not_raised(flag: str):
    counts = {
        bool(value)
        for _, case in CASES
        for name, value in (case.expect or {}).items()
        if name.split(" of ")[0] == f"flag {flag}"
    }
    assert counts == {False, True}


def test_every_bound_status_and_relation_is_shown():
    values = [value for _, case in CASES for value in case.ck if isinstance(value, Value)]
    assert {value.sign for value in values} >= {*get_args(Comparator)}
    assert {value.status for value in values} >= {*STATUSES}
    assert {event.related for _, case in CASES for event in case.events} >= {*get_args(Relation), True, False, None}


def test_the_document_is_the_rendering_of_the_rules():
    assert TARGET.read_text(encoding="utf-8") == rendering(), "run `make docs`"


def test_every_rule_and_case_is_in_the_document():
    document = rendering()
    expected = [text for rule, case in CASES for text in (rule.words, sentence(case), then(case))]
    missing = [text for text in expected if text not in document]
    assert missing == []
