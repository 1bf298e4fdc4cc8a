"""The rule book of claims: what an answer may conclude from its own numbers, and why it may not.

Each rule is a function of numbers that stand in the answer. It always gives its claim: one that is not supported stays
in the answer, with the codes of what decided. No text says more than its rule has checked. A difference from baseline
is a change: whether the treatment made it, no rule can tell from one treated group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from app.analyses.all_treated import AllTreated
from app.analyses.answer import Claim
from app.estimate.changes.multiplicity import adjust
from app.estimate.results import TestResult
from app.timeline.vocabulary import Direction

Side = Literal["improvement", "worsening"]
NoOnset = Literal["last_week_not_significant", "last_week_without_p", "no_direction", "no_beneficial_direction"]
"""Why an onset has no week or no direction."""

BECAUSE: dict[str, str] = {
    "significant": "The adjusted p value is at most alpha.",
    "not_significant": "The adjusted p value is above alpha. That nothing was shown is no sign that there is nothing.",
    "no_p": "There is no p value.",
    "no_direction": "The test is significant, but its centre is 0 or not known.",
    "no_beneficial_direction": "Neither end of the scale is known to be better.",
    "one_direction": "Every week from the onset to the last is significant, all in one direction.",
    "not_beneficial": "The weeks up to the last are significant in the direction of worsening.",
    "last_week_not_significant": "The last week is not significant.",
    "last_week_without_p": "The last week has no p value.",
    "no_patients": "There are no patients.",
    "all_judged": "Everybody who was treated could be judged.",
    "missing_counted_as_none": "Some of the treated could not be judged; they count as without it, and the greatest "
    "possible count stands beside.",
    "died_before": "Some of the treated died before the last day that is judged, or on it.",
    "rescued_before": "Some of the treated had rescue treatment before the last day that is judged, or on it.",
    "no_median": "There is no median; the answer says why.",
    "at_risk": "Patients were still under observation after the median.",
    "nobody_at_risk": "Nobody was under observation after the median, so that the curve ends with it.",
    "treated_again_before": "Some had a second course or a rescue treatment before the time ended.",
    "one_of_a_family": "The p value was adjusted by Holm for all tests of its family.",
    "nothing_compared": "There are no two groups or endpoints to compare.",
    "describes": "The answer describes; no rule concludes from it.",
    "not_declared": "The protocol does not declare the definition.",
}
"""The codes of what decided a claim, each with its sentence."""


@dataclass(frozen=True, slots=True)
class ChangeTest:
    """A test of a change: how many patients, the p value that decides, and the centre of the differences.

    A `bounded` p is only what p is below.
    """

    n: int
    p: float | None
    centre: float | None
    bounded: bool = False

    def significant(self, alpha: float) -> bool:
        """Whether p is at most alpha."""
        return self.p is not None and self.p <= alpha

    @property
    def rises(self) -> bool | None:
        """Whether the centre is above 0; None where it is 0 or not known."""
        return None if not self.centre else self.centre > 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test between groups or endpoints: what is compared, how many patients, and its p value alone."""

    subject: str
    n: int
    p: float | None
    measure: str | None = None
    week: int | None = None
    bounded: bool = False


def change_test(n: int, test: TestResult, centre: float | None) -> ChangeTest:
    """A test of a change: the adjusted p decides where it was adjusted. A p too small to be written has a bound."""
    p = test.p_at_most if test.adjustment is None else test.p_adjusted
    return ChangeTest(n, p, centre, test.p_below is not None)


def comparison(
    subject: str, n: int, test: TestResult, measure: str | None = None, week: int | None = None
) -> Comparison:
    """A test between groups or endpoints. A p too small to be written has a bound."""
    return Comparison(subject, n, test.p_at_most, measure, week, test.p_below is not None)


class OnsetWeek(NamedTuple):
    """The onset: its week, whether it is one of improvement or worsening, and why either is null."""

    week: int | None
    direction: Side | None
    reason: (
        Literal["last_week_not_significant", "last_week_without_p", "no_direction", "no_beneficial_direction"] | None
    )
    rises: bool | None = None


def change(
    code: str,
    subject: str,
    reference: str,
    tested: ChangeTest,
    *,
    better: Direction | None,
    alpha: float,
    family: str,
    measure: str,
    week: int | None = None,
    scale: str | None = None,
) -> Claim:
    """`subject` is higher or lower than `reference`: p is at most alpha, and the centre has a sign, which is named."""
    because, direction = ["significant"], None
    if tested.p is None:
        because = ["no_p"]
        text = f"Whether {subject} differs from {reference} cannot be decided: there is no p value."
    elif not tested.significant(alpha):
        because = ["not_significant"]
        text = (
            f"{subject} is not shown to differ from {reference} ({_p(tested)}, {family}); that is no sign that they "
            "are equal."
        )
    elif tested.rises is None:
        because = ["no_direction"]
        text = f"{subject} differs from {reference}, but in no known direction ({_p(tested)}, {family})."
    else:
        side = _side(tested.rises, better)
        direction = side or ("increase" if tested.rises else "decrease")
        because += [] if side else ["no_beneficial_direction"]
        text = (
            f"{subject} is {_higher(tested.rises)} than {reference} in {_patients(tested.n)} "
            f"({_p(tested)}, {family}): {_words(side)}."
        )
    return Claim(
        code=code,
        measure=measure,
        week=week,
        scale=scale,
        text=_sentence(text),
        direction=direction,
        n=tested.n,
        supported=direction is not None,
        because=tuple(because),
    )


def onset_week(weeks: Mapping[int, ChangeTest], *, better: Direction | None, alpha: float) -> OnsetWeek:
    """The first week from which every week up to the last is significant in the direction of the last.

    `weeks` are in ascending order, with p adjusted over them.
    """
    last = list(weeks.values())[-1]
    if not last.significant(alpha):
        return OnsetWeek(None, None, "last_week_without_p" if last.p is None else "last_week_not_significant")
    if last.rises is None:
        return OnsetWeek(None, None, "no_direction")
    first = max(weeks)
    for week, tested in reversed(list(weeks.items())):
        if not tested.significant(alpha) or tested.rises is not last.rises:
            break
        first = week
    side = _side(last.rises, better)
    return OnsetWeek(first, side, None if side else "no_beneficial_direction", last.rises)


def onset(
    subject: str, found: OnsetWeek, weeks: Mapping[int, ChangeTest], *, family: str, measure: str,
    scale: str | None = None,
) -> list[Claim]:  # fmt: skip
    """An onset needs one direction from its week to the last, the beneficial one. A run in the other direction is an
    onset of worsening, and where neither is known to be better an onset of change.
    """
    n = list(weeks.values())[-1].n
    if found.week is None or found.rises is None:
        why: str = found.reason or "no_direction"
        text = f"No onset is shown for {subject}: {BECAUSE[why][0].lower()}{BECAUSE[why][1:]}"
        return [_no_onset(text, why, n, measure, scale)]
    run = (
        f"from week {found.week} up to week {max(weeks)}, {subject} is {_higher(found.rises)} than at baseline at "
        f"every week compared ({family})"
    )
    claim = Claim(
        code=_ONSETS[found.direction],
        measure=measure,
        week=found.week,
        scale=scale,
        text=_sentence(f"{run}: {_words(found.direction)}."),
        direction=found.direction or ("increase" if found.rises else "decrease"),
        n=n,
        supported=True,
        because=("one_direction",) if found.direction else ("one_direction", "no_beneficial_direction"),
    )
    if found.direction == "improvement":
        return [claim]
    why = "not_beneficial" if found.direction else "no_beneficial_direction"
    return [_no_onset(f"No onset of improvement is shown for {subject}: {run}.", why, n, measure, scale), claim]


_ONSETS: dict[Side | None, str] = {
    "improvement": "onset",
    "worsening": "onset_of_worsening",
    None: "onset_of_change",
}


def _no_onset(text: str, why: str, n: int, measure: str, scale: str | None) -> Claim:
    return Claim(
        code="onset", measure=measure, scale=scale, text=text, direction=None, n=n, supported=False, because=(why,)
    )


def rate(
    subject: str, count: AllTreated, responders: int, judged: int, *, measure: str | None = None,
    week: int | None = None, unit: str = "treated patients",
) -> Claim:  # fmt: skip
    """A rate is of everybody who was treated: who could not be judged counts as without it, and the greatest
    possible count stands beside. Deaths and rescue treatments before the last judged day are named.
    """
    because = [] if count.of else ["no_patients"]
    text = f"{subject}: nobody was treated."
    if count.of:
        because.append("missing_counted_as_none" if count.not_judged else "all_judged")
        text = f"{subject}: {count.counted} of all {count.of} {unit} ({_percent(count.counted, count.of)})"
        if count.not_judged:
            text += (
                f", where {count.not_judged} who could not be judged count as without it (with it, {count.at_most} of "
                f"{count.of}, {_percent(count.at_most, count.of)}); {responders} of the {judged} who could be judged"
            )
        text += "."
    for code, number, words in (("died_before", count.died, "died"), ("rescued_before", count.rescued, "had rescue "
                                "treatment")):  # fmt: skip
        if number:
            because.append(code)
            text += f" By the last day that is judged {number} of {count.of} {words}."
    return Claim(
        code="rate_of_all_treated",
        measure=measure,
        week=week,
        text=text,
        direction=None,
        n=count.of,
        supported=count.of > 0,
        because=tuple(because),
    )


def median_time(
    code: str, subject: str, value: float | None, n: int, at_risk: int, before: Mapping[str, int], *,
    measure: str | None = None, shown: str | None = None,
) -> Claim:  # fmt: skip
    """A median needs a patient who was under observation after it (`at_risk`). The claim names how many of the `n`
    patients had each further treatment `before` their time ended. `shown` is the median in words if it is an interval.
    """
    shown = shown or f"{value or 0:g} d"
    because = ["no_median" if value is None else "at_risk" if at_risk else "nobody_at_risk"]
    if value is None:
        text = f"{subject}: there is no median of {_patients(n)}."
    elif not at_risk:
        text = f"{subject}: the curve comes to one half at {shown}, and nobody was under observation after that."
    else:
        text = f"{subject}: the median is {shown} in {_patients(n)}, {at_risk} of them under observation after it."
    if any(before.values()):
        because.append("treated_again_before")
    counts = " and ".join(f"{number} {words}" for words, number in before.items())
    return Claim(
        code=code,
        measure=measure,
        text=f"{text} Before it ended {counts}." if n and counts else text,
        direction=None,
        n=n,
        supported=because[0] == "at_risk",
        because=tuple(because),
    )


def differences_of(code: str, tests: Sequence[Comparison], *, family: str, alpha: float) -> list[Claim]:
    """Groups (or endpoints) differ if p, adjusted by Holm over all tests of the family, is at most alpha."""
    if not tests:
        text, because = "Nothing is compared.", ("nothing_compared",)
        return [Claim(code=code, text=text, direction=None, n=0, supported=False, because=because)]
    adjusted = adjust([test.p for test in tests], "holm")
    named = f"adjusted by Holm over the {_tests(sum(test.p is not None for test in tests))} of {family}"
    return [_difference(code, replace(test, p=p), named, alpha) for test, p in zip(tests, adjusted, strict=True)]


def _difference(code: str, test: Comparison, family: str, alpha: float) -> Claim:
    if test.p is None:
        decided, text = "no_p", f"{test.subject}: whether they differ cannot be decided, there is no p value."
    elif test.p <= alpha:
        decided, text = "significant", f"{test.subject}: they differ ({_p(test)}, {family})."
    else:
        decided = "not_significant"
        text = f"{test.subject}: no difference is shown ({_p(test)}, {family}); that is no sign that there is none."
    return Claim(
        code=code,
        measure=test.measure,
        week=test.week,
        text=text,
        direction=None,
        n=test.n,
        supported=decided == "significant",
        because=(decided,) if test.p is None else (decided, "one_of_a_family"),
    )


def description(n: int, of: str) -> Claim:
    """An answer that only describes: no rule concludes from it."""
    text = (
        f"This describes {of} of {_patients(n)} and concludes nothing." if n else "There are no patients to describe."
    )
    because = ("describes",) if n else ("no_patients",)
    return Claim(code="description", text=text, direction=None, n=n, supported=n > 0, because=because)


def undeclared(definition: str) -> Claim:
    """The protocol does not declare the definition: there is nothing to conclude."""
    text = f"The protocol declares no `{definition}`."
    return Claim(code="description", text=text, direction=None, n=0, supported=False, because=("not_declared",))


def _side(rises: bool, better: Direction | None) -> Side | None:
    return None if better is None else "improvement" if rises == (better == "higher") else "worsening"


def _words(side: Side | None) -> str:
    return {"improvement": "a change for the better", "worsening": "a change for the worse"}.get(side or "", "a change")


def _higher(rises: bool) -> str:
    return "higher" if rises else "lower"


def _patients(n: int) -> str:
    return f"{n} patient{'' if n == 1 else 's'}"


def _tests(n: int) -> str:
    return f"{n} test{'' if n == 1 else 's'}"


def _p(test: ChangeTest | Comparison) -> str:
    return f"p {'< ' if test.bounded else ''}{test.p:.2g}"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %"


def _sentence(text: str) -> str:
    """A text with a capital letter, unless it begins with the sign `ln`."""
    return text if text.startswith("ln(") else text[0].upper() + text[1:]
