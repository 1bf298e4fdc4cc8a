"""What the preset for new studies would say of the same patients: both figures, from the data, by the same code."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.analyses.answer import Context
from app.analyses.ck_normal.intercurrent_strategies import spell_intervals
from app.derive.study import DerivedStudy
from app.estimate.results import Median, Result
from app.protocol.model import Protocol
from app.protocol.presets import MYOSITIS_2026, SEED_2008


class BothFigures(Result):
    """One figure by the protocol of the answer and by the other preset."""

    endpoint: str = Field(description="What the figure is of.", examples=["response:CK"])
    own: str = Field(description="By the protocol of this answer.", examples=["15 of 15"])
    other: str = Field(description="By the other preset.", examples=["15 of 16"])


class PresetDifference(Result):
    """How the preset for new studies differs in this study."""

    preset: str = Field(description="The other preset.", examples=["myositis-2026"])
    applies: bool = Field(description="Whether any figure differs.", examples=[True])
    text: str = Field(
        description="The difference in one sentence.",
        examples=["Under `myositis-2026` CK responders are 15 of 16 instead of 15 of 15."],
    )
    figures: tuple[BothFigures, ...] = Field(description="Both figures of each endpoint.", examples=[[]])


Differs = Annotated[
    PresetDifference | None,
    Field(
        exclude_if=lambda difference: difference is None,
        description="Under `seed-2008`: what `myositis-2026` gives.",
        examples=[None],
    ),
]


def compared_with(protocol: Protocol) -> tuple[Protocol, ...]:
    """The protocols under which the report counts, beside the one of the study."""
    return (MYOSITIS_2026,) if protocol == SEED_2008 else ()


def response_difference(whole: Context) -> PresetDifference | None:
    """The primary response rates by both presets; None under any other protocol than `seed-2008`."""
    if whole.protocol != SEED_2008:
        return None
    own, other = (dict(_responders(study, study.protocol)) for study in _both(whole))
    figures = [
        BothFigures(endpoint=f"response:{measure}", own=rate, other=other[measure]) for measure, rate in own.items()
    ]
    differing = [
        f"{each.endpoint.partition(':')[2]} responders are {each.other} instead of {each.own}"
        for each in figures
        if each.own != each.other
    ]
    return _difference(figures, ", ".join(differing), "response at week 4 confirmed at week 8, of all treated patients")


def normal_time_difference(whole: Context, median: Median) -> PresetDifference | None:
    """The median time with normal CK by both presets; `median` is that of the answer."""
    if whole.protocol != SEED_2008:
        return None
    own = "not reached" if median.value is None else f"{median.value:g} d"
    preset = MYOSITIS_2026
    study = whole.whole.under(preset)
    found = spell_intervals(study, preset.ck_normal_time.rescue, preset.conventions, level=whole.level, resamples=0)
    left, right = found.median.left, found.median.right
    other = "not reached" if left is None or right is None else f"later than {left:g} and at most {right:g} d"
    figures = [BothFigures(endpoint="ck_normal_time", own=own, other=other)]
    words = f"the median time with normal CK is {other} instead of {own}" if other != own else ""
    return _difference(figures, words, "sustained normality, rescue as its end, interval-censored")


def _both(whole: Context) -> tuple[DerivedStudy, DerivedStudy]:
    return whole.whole, whole.whole.under(MYOSITIS_2026)


def _responders(study: DerivedStudy, protocol: Protocol) -> Iterator[tuple[str, str]]:
    for declared in protocol.responses:
        if declared.primary:
            verdict = study.response(declared.rule)
            yield declared.rule.measure, f"{int(verdict.responder.sum())} of {int(verdict.evaluable.sum())}"


def _difference(figures: list[BothFigures], differing: str, rules: str) -> PresetDifference:
    name = MYOSITIS_2026.id
    text = f"Under `{name}` ({rules}) {differing or 'every figure is the same in this study'}."
    return PresetDifference(preset=name, applies=bool(differing), text=text, figures=tuple(figures))
