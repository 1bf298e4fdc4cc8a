"""Write docs/definitions.md and docs/claims.md from all rules and cases: `python -m tests.spec.render`."""

from collections.abc import Callable, Iterator
from pathlib import Path

from app.protocol.criteria import CkPercentOfBaseline, PercentBetter, PointsBetter, VisitWindow
from app.protocol.endpoints import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    CriterionInWindow,
    PercentAboveBaseline,
    PointsAboveBaseline,
    ResponseRule,
)
from app.protocol.improvement import CoreSet
from app.protocol.model import Protocol
from app.protocol.presets import PRESETS
from tests.spec.book import CHAPTERS
from tests.spec.case_text import given, then
from tests.spec.rule import Case, listed

TARGET = Path(__file__).parents[2] / "docs" / "definitions.md"

INTRODUCTION = """\
# Definitions: what the numbers mean

This page defines every number: each rule in words, then cases on either side of each of its boundaries, with
the given record and the expected answers. It is generated from `tests/spec` (`make docs`), and every case on
it is tested against the service in every build.

**Whose definitions these are.** They are ours. An open trial of immunoglobulin in inflammatory myopathy,
published in 2008, asked the questions, but its own rules are not public. The rules of the preset `seed-2008`
were chosen so that they give the key results of that trial on a synthetic reference cohort, which is part of
the service and describes no real person. They are not the rules of the trial, and a figure computed with them
is not a re-analysis of the trial. A study declares its definitions as a protocol, a preset or its own, before
anybody looks at its data. Every answer repeats the definitions and conventions that it used.

**Missing values are reported.** A patient who cannot be judged is left out of that one estimate and counted
with a reason. A number that is not defined is null and has a reason. Something that was noticed, but left no
patient out, is counted as a flag. Reasons and flags are written below as in the answers, `like_this`.
"""

READING = """\
## How to read the cases

Days are counted from the first infusion. Unless a case says otherwise, there is one infusion of IVIG on day 0
without a clock time; CK is in U/L with an upper limit of normal of 200; clock times are those of Japan
(+09:00); MMT and ADL are scores in points; and the protocol is `seed-2008`. A value after &lt; or &gt; is known
only to be below or above that number. "Though not to a binary computer" marks an example for which ordinary
floating-point arithmetic gives a wrong result. The last column gives values of the answers by name.
"""


def rendering() -> str:
    """The whole document."""
    return "\n".join([INTRODUCTION, *_contents(), "", *_parts(), "", READING, *_chapters()])


def _contents() -> Iterator[str]:
    yield "## Contents"
    yield ""
    yield "- [The parts of a protocol](#the-parts-of-a-protocol)"
    yield "- [How to read the cases](#how-to-read-the-cases)"
    for chapter in CHAPTERS:
        names = " · ".join(rule.name for rule in chapter.rules)
        listing = "" if len(chapter.rules) == 1 else f": {names}"
        yield f"- [{chapter.title}](#{chapter.title.lower().replace(' ', '-')}){listing}"


def _parts() -> Iterator[str]:
    yield "## The parts of a protocol"
    yield ""
    yield "Each part has a default, and a protocol can change it. These are the presets of the service."
    yield ""
    yield row("part", *(f"`{name}`" for name in PRESETS))
    yield row(*["---"] * (1 + len(PRESETS)))
    for part, describe in PARTS.items():
        yield row(part, *(describe(preset) for preset in PRESETS.values()))


def _chapters() -> Iterator[str]:
    for chapter in CHAPTERS:
        yield f"## {chapter.title}"
        yield ""
        for rule in chapter.rules:
            if len(chapter.rules) > 1:
                yield f"### {rule.name}"
                yield ""
            yield rule.words
            yield ""
            yield row("case", "given", "expected")
            yield row("---", "---", "---")
            yield from (case_row(case) for case in rule.cases)
            yield ""


def case_row(case: Case) -> str:
    """The row of a case."""
    return row(sentence(case), given(case), then(case))


def sentence(case: Case) -> str:
    """The sentence of a case, with a capital letter."""
    return case.says[0].upper() + case.says[1:]


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def _visits(protocol: Protocol) -> str:
    if protocol.visits.rule == "contiguous":
        return "windows meet half-way between the targets; a day half-way belongs to the later week"
    return f"nearest within {protocol.visits.tolerance_days} days of day 7w; a tie goes to the later value"


def _scales(protocol: Protocol) -> str:
    scales = [f"{name} {s.minimum:g} to {s.maximum:g}, {s.better} is better" for name, s in protocol.scales.items()]
    return "; ".join(scales) or "none"


def _responder(measure: str) -> Callable[[Protocol], str]:
    def describe(protocol: Protocol) -> str:
        declared = [each for each in protocol.responses if each.rule.measure == measure]
        return "; ".join(f"{_rule(each.rule)}{'' if each.primary else ' (in addition)'}" for each in declared) or "none"

    return describe


def _rule(rule: ResponseRule) -> str:
    match rule:
        case CriterionInWindow():
            return _general_rule(rule)
        case PointsAboveBaseline():
            gain = f"at least {rule.points:g} points above baseline"
            return f"{rule.value} value of days {rule.days[0]} to {rule.days[1]} {gain}"
        case PercentAboveBaseline():
            return f"at least {rule.percent:g} % above baseline at week {rule.week}"
        case CkDecreaseOrNormal():
            which = "any" if rule.value == "best" else "last"
            fall = f"at most {rule.percent_of_baseline} % of the baseline or within its upper limit"
            return f"{which} value of days {rule.days[0]} to {rule.days[1]} {fall}"
        case CkDecreaseOrNormalAtWeek():
            return (
                f"at most {rule.percent_of_baseline} % of the baseline, or within its upper limit, at week {rule.week}"
            )


def _general_rule(rule: CriterionInWindow) -> str:
    own, seen = rule.criterion, rule.window
    match own:
        case PointsBetter():
            words = f"at least {own.points:g} points better than the baseline"
        case PercentBetter():
            words = f"at least {own.percent:g} % better than the baseline"
        case CkPercentOfBaseline():
            normal = " or within its upper limit" if own.or_normal else ""
            words = f"at most {own.percent_of_baseline} % of the baseline{normal}"
    where = (
        f"at week {seen.week}" if isinstance(seen, VisitWindow) else f"at the {seen.value} value of days {seen.days}"
    )
    confirmed = "" if seen.confirmed is None else f", confirmed by the {seen.confirmed.replace('_', ' ')}"
    return f"{words} {where}{confirmed}" + ("; missing is no response" if rule.missing == "non_responder" else "")


def _core_set(core_set: CoreSet) -> str:
    return f"{core_set.population}, {core_set.muscle_strength}, {core_set.function}, {listed(core_set.enzymes)}"


def _improvement_score(protocol: Protocol) -> str:
    declared = protocol.improvement_score
    if declared is None:
        return "none"
    levels = listed(f"{level} {least}" for level, least in declared.thresholds.items())
    ranges = listed(f"{each.enzyme} {each.upper_limits:g} ({each.source})" for each in declared.enzyme_ranges)
    return f"{_core_set(declared.core_set)}; {levels}; ranges in upper limits: {ranges}"


def _definition_of_improvement(protocol: Protocol) -> str:
    declared = protocol.definition_of_improvement
    if declared is None:
        return "none"
    return (
        f"{_core_set(declared.core_set)}; {declared.improved_measures} better by {declared.improved_percent:g} %, "
        f"at most {declared.worse_measures} worse by {declared.worse_percent:g} %"
    )


PARTS: dict[str, Callable[[Protocol], str]] = {
    "products that are the treatment": lambda p: listed(p.treatment.products),
    "greatest gap within a course": lambda p: f"{p.treatment.course_gap_days} days",
    "baseline": lambda p: (
        f"last value on or before day 0, flagged if older than {p.baseline.flag_older_than_days} days"
    ),
    "planned weeks in addition to week 0": lambda p: listed(p.visits.weeks),
    "value of a week": _visits,
    "scales": _scales,
    "upper limit of a CK sent without one": lambda p: (
        "none" if p.upper_limit == "own" else "nearest of the same laboratory"
    ),
    "MMT responder": _responder("MMT"),
    "ADL responder": _responder("ADL"),
    "CK responder": _responder("CK"),
    "weekly change: measures": lambda p: listed(p.weekly_change.measures),
    "weekly change: weeks": lambda p: listed(p.weekly_change.weeks),
    "weekly change: alpha of the onset": lambda p: f"{p.weekly_change.alpha:g}",
    "CK before and after: weeks": lambda p: f"{p.ck_change.before_week}, 0 and {p.ck_change.after_week}",
    "time with normal CK: horizon of the restricted mean": lambda p: f"{p.ck_normal_time.rmst_until_days} days",
    "time with normal CK: further treatment": lambda p: f"`{p.ck_normal_time.rescue}`",
    "time with normal CK: begins at": lambda p: (
        "the first of two normal CKs" if p.ck_normal_time.sustained else "the first normal CK"
    ),
    "time with normal CK: estimate that comes first": lambda p: (
        "interval-censored" if p.ck_normal_time.primary_estimate == "interval" else "Kaplan-Meier"
    ),
    "response after further treatment": lambda p: f"`{p.response_rescue}`",
    "relations that make an event a reaction": lambda p: listed(
        "yes" if each == "true" else each for each in p.adverse_reactions.related
    ),
    "total improvement score": _improvement_score,
    "definition of improvement": _definition_of_improvement,
    "median while exactly half are left": lambda p: f"`{p.conventions.median}`",
    "exactly half left to the end": lambda p: f"`{p.conventions.plateau}`",
    "interval of the curve and its median": lambda p: f"`{p.conventions.interval}`",
    "zeros in the signed rank test": lambda p: f"`{p.conventions.zeros}`",
    "interval of a proportion": lambda p: f"`{p.conventions.proportion}`",
    "several weeks": lambda p: f"`{p.conventions.multiplicity}`",
}


def main() -> None:
    """Write both documents."""
    from tests.spec.render_claims import CLAIMS_PAGE, claims_page

    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(rendering(), encoding="utf-8")
    CLAIMS_PAGE.write_text(claims_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
