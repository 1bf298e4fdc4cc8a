"""The pages that plan a study: a form, the sizes, and how they hang together as a picture and a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.analyses.planning.sample_size import ChangePlan, MedianPlan, ProportionPlan
from app.pages.controls import controls, elsewhere, given
from app.pages.labels import sentence
from app.pages.page import Names, Page, PageReading, Refused, together
from app.pages.wording import NO_FIGURE, count, figure, level_text, percent

SIZES = (10, 20, 30, 50, 75, 100, 150, 200)
"""Patients, or events, of the picture."""
WIDTH, HEIGHT, LEFT, BOTTOM = 560, 260, 70, 44


@dataclass(frozen=True, slots=True)
class PlanForm:
    """One way to plan: its form, which parameter is the size, and what a size gives."""

    title: str
    about: str
    model: type[BaseModel]
    size: str
    assumed: tuple[str, ...]
    gives: str
    given_by: Callable[[Mapping[str, Any]], float | None]
    written: Callable[[float | None], str]
    sentences: Callable[[Mapping[str, Any], Mapping[str, str]], list[str]]


def _no(found: Mapping[str, Any]) -> str:
    return sentence(found["reason"]) if found.get("reason") else "There is no such number."


def _of_proportion(found: Mapping[str, Any], sent: Mapping[str, str]) -> list[str]:
    written = []
    if precision := found["precision"]:
        written.append(
            f"If the true rate is {percent(precision['rate'])}, {count(precision['n'], 'patient')} give a "
            f"{level_text(precision['level'])} confidence interval that is expected to reach from "
            f"{percent(precision['expected_low'])} to {percent(precision['expected_high'])}: "
            f"{percent(precision['expected_half_width'])} to either side."
        )
    if size := found["for_half_width"]:
        needed = _no(size) if size["n"] is None else f"{count(size['n'], 'patient')} are needed."
        written.append(f"For {percent(float(sent['half_width']))} to either side: {needed}")
    return written


def _of_change(found: Mapping[str, Any], sent: Mapping[str, str]) -> list[str]:
    power = percent(float(sent.get("power", "0.8")))
    written = []
    if detectable := found["detectable"]:
        shown = _no(detectable) if detectable["difference"] is None else (
            f"{count(detectable['n'], 'patient')} show a true mean difference of {figure(detectable['difference'])} "
            f"with a power of {power}."
        )  # fmt: skip
        written.append(shown)
    for name, test in (("for_difference", "paired t test"), ("for_difference_signed_rank", "signed-rank test")):
        if size := found[name]:
            needed = _no(size) if size["n"] is None else f"{count(size['n'], 'patient')}."
            written.append(
                f"To show a true difference of {sent['difference']} with a power of {power} by the {test}: {needed}"
            )
    return written


def _of_median(found: Mapping[str, Any], sent: Mapping[str, str]) -> list[str]:
    written = []
    if precision := found["precision"]:
        written.append(
            f"After {count(precision['events'], 'event')} the limits of the median are expected at "
            f"{figure(precision['low_factor'])} and {figure(precision['high_factor'])} times the median: the upper one "
            f"is {figure(precision['ratio'])} times the lower one."
        )
    if size := found["for_ratio"]:
        needed = _no(size) if size["n"] is None else f"{count(size['n'], 'event')} are needed."
        written.append(f"For an upper limit of {sent['ratio']} times the lower one: {needed}")
    return written


KINDS = {
    "proportion": PlanForm(
        "A rate", "How precise is a rate from n patients, or how many patients does a narrow interval need?",
        ProportionPlan, "n", ("rate", "level"), "Half width of the interval",
        lambda found: found["precision"]["expected_half_width"], percent, _of_proportion,
    ),
    "paired-change": PlanForm(
        "A change", "What change can n patients show, or how many patients does a change need?",
        ChangePlan, "n", ("sd", "power", "alpha"), "Difference that can be shown",
        lambda found: found["detectable"]["difference"], figure, _of_change,
    ),
    "median-time": PlanForm(
        "A median time", "How precise is a median time after n events, or how many events does a narrow interval need?",
        MedianPlan, "events", ("level",), "Upper limit / lower limit",
        lambda found: found["precision"]["ratio"], figure, _of_median,
    ),
}  # fmt: skip


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    await reading.json("/v1/session")  # who asks, before anything is shown
    name = names.get("plan", "proportion")
    if name not in KINDS:
        raise Refused(await reading.document(reading.asked.path))
    kind = KINDS[name]
    query = given(reading.asked.query)
    found, problem = None, None
    if query:
        document = await reading.document(f"/v1/planning/{name}", query)
        if document.status >= 400 and document.status != 422:
            raise Refused(document)
        found, problem = (document.json(), None) if document.status == 200 else (None, document.json())
    made = controls(kind.model, query, problem)
    sizes = [] if found is None else await _sizes(reading, name, kind, query)
    return {
        "kinds": [(key, each.title) for key, each in KINDS.items()],
        "name": name,
        "kind": kind,
        "controls": made,
        "refused": elsewhere(problem, [each.name for each in made]),
        "sentences": [] if found is None else kind.sentences(found, dict(query)),
        "sizes": [(figure(size), kind.written(value)) for size, value in sizes],
        "curve": curve([(size, value) for size, value in sizes if value is not None], kind.written),
        "options": query if found is not None else [],
        "status": 200 if problem is None else 422,
    }


async def _sizes(
    reading: PageReading, name: str, kind: PlanForm, query: Sequence[tuple[str, str]]
) -> list[tuple[int, float | None]]:
    """What other sizes give under the same assumptions."""
    assumed = [pair for pair in query if pair[0] in kind.assumed]
    found = await together(
        *(reading.json(f"/v1/planning/{name}", [*assumed, (kind.size, str(size))]) for size in SIZES)
    )
    return [(size, kind.given_by(each)) for size, each in zip(SIZES, found, strict=True)]


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """The picture: where its points, its marks and their texts stand."""

    points: list[tuple[float, float]]
    bottom: list[tuple[float, str]]
    side: list[tuple[float, str]]

    @property
    def line(self) -> str:
        """The points as an SVG line."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


def curve(points: Sequence[tuple[float, float]], written: Callable[[float | None], str]) -> SizeCurve | None:
    """The picture of what each size gives; `None` if there is nothing to draw."""
    if len(points) < 2:
        return None
    most, highest = points[-1][0], max(value for _, value in points) or 1.0

    def across(size: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * size / most

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 20) * value / highest

    return SizeCurve(
        [(across(size), up(value)) for size, value in points],
        [(across(most * part / 4), figure(most * part / 4)) for part in range(5)],
        [(up(highest * part / 4), NO_FIGURE if not highest else written(highest * part / 4)) for part in range(5)],
    )


PAGES = (Page("/v1/planning", "plan.html", _fill), Page("/v1/planning/{plan}", "plan.html", _fill))
