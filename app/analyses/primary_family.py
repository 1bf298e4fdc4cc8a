"""The primary family: the endpoints that the protocol declares, and their p values adjusted together by Holm."""

from collections.abc import Mapping, Sequence
from typing import cast

from app.analyses.answer import Answer, Context, FamilyMember, HowAdjusted, Options, PrimaryFamily
from app.analyses.ck_change import BeforeAfter, ck_change
from app.analyses.weekly_change import WeekChange, scales_of, weekly_change
from app.derive.study import DerivedStudy
from app.estimate.changes.multiplicity import adjust
from app.estimate.results import Reason, TestResult

_HELD: Mapping[str, tuple[str, ...]] = {
    "response-rates": ("response:",),
    "weekly-change": ("weekly_change:",),
    "ck-change": ("ck_change",),
    "ck-normal-time": ("ck_normal_time", "time_to_first_normal"),
    "ck-normal-interval": ("ck_normal_time", "time_to_first_normal"),
}
"""How the names of the endpoints begin that each question answers."""


def with_family(answer: Answer, study: DerivedStudy, options: Options) -> Answer:
    """The answer with the family, if the protocol declares one and the answer holds a member of it.

    The family is that of the whole study, also where the answer is by subgroups.
    """
    declared = study.protocol.primary_family
    held = _HELD.get(answer.analysis)
    if declared is None or held is None or not any(name.startswith(held) for name in declared):
        return answer
    whole = options.model_copy(update={"by": None, "patients": False})
    family = holm_over(declared, tests_of(Context.of(study, whole)))
    return answer.model_copy(update={"multiplicity": HowAdjusted(text=answer.multiplicity.text, primary_family=family)})


def tests_of(context: Context) -> dict[str, TestResult]:
    """The test of each endpoint that has one: the one that decides in the answer to its question."""
    rows = cast("Sequence[WeekChange]", weekly_change(context).results["results"])
    changed = cast("Sequence[BeforeAfter]", ck_change(context).results["results"])
    weeks = {
        f"weekly_change:{row.measure}:{row.week}": row.tests[0]
        for row in rows
        if row.scale == scales_of(row.measure)[0]
    }
    return weeks | {"ck_change": changed[0].difference.tests[0]}


def holm_over(names: tuple[str, ...], tests: Mapping[str, TestResult]) -> PrimaryFamily:
    """The tests of the named endpoints, adjusted by Holm over all that have a p value.

    A rate or a median of one group is estimated and not tested: it has no p value and takes no part.
    """
    found = [tests.get(name) for name in names]
    p_values = [None if test is None else test.p_at_most for test in found]
    members = tuple(
        FamilyMember(
            endpoint=name,
            method=None if test is None else test.method,
            p=p,
            p_adjusted=adjusted,
            reason=Reason.NOT_TESTED if test is None else test.reason,
        )
        for name, test, p, adjusted in zip(names, found, p_values, adjust(p_values, "holm"), strict=True)
    )
    tested = sum(p is not None for p in p_values)
    return PrimaryFamily(
        tests=tested,
        members=members,
        text=f"The declared primary family has {len(names)} endpoints, {tested} of them with a p value: these are "
        "adjusted together by holm; the p values elsewhere in the answer are not part of it.",
    )
