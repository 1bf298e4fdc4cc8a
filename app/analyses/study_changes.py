"""What moved each key result of a study: the figures at two revisions, and the steps from one to the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from app.analyses.answer import Context, Options
from app.analyses.sensitivity.key_results import Kind, key_results
from app.analyses.sensitivity.sensitivity import estimate_of
from app.derive.study import DerivedStudy
from app.estimate.results import Number, Reason, Result, is_none
from app.protocol.model import Protocol
from app.timeline.cohort import Cohort


class _About(Result):
    """Which key result."""

    analysis: str = Field(description="The question that gives the figure.", examples=["weekly-change"])
    measure: str = Field(description="The measure.", examples=["CK"])
    of: Kind = Field(description="What the figure is; a median is in days.", examples=["mean"])
    scale: Literal["ln", "raw"] | None = Field(description="Scale of a difference.", examples=["ln"])
    week: int | None = Field(description="Week of a difference.", examples=[8])


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key result at one revision; `value` is null for a `reason`."""

    value: float | None
    n: int
    reason: Reason | None


_Key = tuple[str, str, Kind, Literal["ln", "raw"] | None, int | None]
KeyValues = Mapping[_Key, KeyValue]
"""The figures at one revision, by what they are about; in the order of the report."""


class FigureChange(_About):
    """One key result at two revisions."""

    before: Number | None = Field(description="The figure at the earlier revision.", examples=[-1.4])
    after: Number | None = Field(description="The figure at the later one.", examples=[-1.6])
    difference: Number | None = Field(description="after - before; null where one of them is null.", examples=[-0.2])
    n_before: int | None = Field(description="Patients of the earlier figure.", examples=[14])
    n_after: int | None = Field(description="Patients of the later figure.", examples=[15])
    reason_before: Reason | None = Field(description="Why `before` is null.", examples=[None])
    reason_after: Reason | None = Field(description="Why `after` is null.", examples=[None])


class ChangedFacts(Result):
    """Facts of one kind."""

    kind: str = Field(description="The kind, as in a history.", examples=["lab_result"])
    added: int = Field(description="Facts that stand since this revision.", examples=[7])
    ended: int = Field(
        description="Facts that stood until this revision; a corrected fact is counted in both.", examples=[0]
    )


class StudyStep(Result):
    """One revision: what it did to the facts, and which key results it moved."""

    revision: int = Field(description="Its number.", examples=[16])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    client: str | None = Field(description="Who sent it.", examples=[None])
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    erased: bool = Field(description="Whether it held a person who was erased since.", examples=[False])
    protocol_changed: bool = Field(description="Whether it declared another protocol.", examples=[False])
    facts: tuple[ChangedFacts, ...] = Field(
        description="What it did to the facts that stand, by kind; without facts of erased persons.", examples=[[]]
    )
    patients: tuple[str, ...] | None = Field(
        default=None, exclude_if=is_none, description="Whose facts, where `patients=true`.", examples=[["P16"]]
    )
    figures: tuple[FigureChange, ...] = Field(
        description="The key results whose value, patients or reason changed.", examples=[[]]
    )


class StudyChanges(Result):
    """What moved the key results of a study."""

    study: str = Field(description="The study.", examples=["demo"])
    from_: int = Field(alias="from", description="The earlier revision.", examples=[0])
    to: int = Field(description="The later revision.", examples=[16])
    software: str = Field(description="Name and version of the service.", examples=["myoresponse 0.1.0"])
    figures: tuple[FigureChange, ...] = Field(
        description="Every key result at both revisions, each with the protocol of its revision.", examples=[[]]
    )
    items: tuple[StudyStep, ...] = Field(
        description="The revisions after `from`, up to `to`, oldest first.", examples=[[]]
    )
    next: str | None = Field(description="Address of the next page.", examples=[None])


def key_values(cohort: Cohort, protocol: Protocol) -> KeyValues:
    """The figures that the report of a cohort begins with."""
    context = Context.of(DerivedStudy(cohort, protocol), Options())
    found: dict[_Key, KeyValue] = {}
    for result in key_results(context):
        value, reason, _, _ = estimate_of(context, result)
        key = (result.analysis, result.measure, result.kind, result.scale, result.week)
        found.setdefault(key, KeyValue(value, int(result.included.sum()), reason))
    return found


def figure_changes(before: KeyValues | None, after: KeyValues | None) -> Iterator[FigureChange]:
    """Every figure of both revisions; None stands for the figures of a revision that cannot be read any more."""
    for key in {**(before or {}), **(after or {})}:
        first, second = (_at(figures, key) for figures in (before, after))
        analysis, measure, of, scale, week = key
        yield FigureChange(
            analysis=analysis,
            measure=measure,
            of=of,
            scale=scale,
            week=week,
            before=first.value,
            after=second.value,
            difference=None if first.value is None or second.value is None else second.value - first.value,
            n_before=None if before is None else first.n,
            n_after=None if after is None else second.n,
            reason_before=first.reason,
            reason_after=second.reason,
        )


def moved(changes: Iterator[FigureChange]) -> tuple[FigureChange, ...]:
    """The figures that are not the same at both revisions."""
    return tuple(
        each
        for each in changes
        if (each.before, each.n_before, each.reason_before) != (each.after, each.n_after, each.reason_after)
    )


def _at(figures: KeyValues | None, key: _Key) -> KeyValue:
    if figures is None:
        return KeyValue(None, 0, Reason.ERASED)
    return figures.get(key, KeyValue(None, 0, Reason.NOT_DECLARED))
