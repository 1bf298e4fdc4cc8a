"""The charts of a page: which ones belong to an answer, and the two widths of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.access.callers import Scope
from app.pages.charts import CHARTS
from app.pages.page import PINNED, PageReading, safe_svg, together

OF_PATIENTS = frozenset(name for name, chart in CHARTS.items() if chart.shows_patients)
"""Charts with a mark for each patient."""
OF_QUESTION: dict[str, tuple[str, ...]] = {
    "response-rates": ("response-waterfall",),
    "weekly-change": ("weekly-change",),
    "ck-change": ("ck-change",),
    "ck-normal-time": ("ck-normal-time", "spells"),
    "ck-normal-interval": ("ck-normal-time",),
    "adverse-reactions": ("adverse-events",),
    "safety": ("adverse-events",),
    "improvement-score": ("improvement-score",),
    "specification-curve": ("specification-curve",),
    "courses": ("spells",),
    "steroid-sparing": ("steroid-sparing",),
    "comparisons": ("response-forest",),
}
"""The charts that belong to a question."""
OF_OVERVIEW = ("weekly-change", "response-waterfall", "ck-normal-time", "adverse-events", "flow")


@dataclass(frozen=True, slots=True)
class ShownChart:
    """A chart of a page in two widths. It has its title and its alternative text in itself."""

    name: str
    wide: Markup
    narrow: Markup


async def pictures(
    reading: PageReading,
    study: str,
    names: Iterable[str],
    revision: int | None,
    options: Sequence[tuple[str, str]] = (),
) -> list[ShownChart]:
    """The charts that there are, of this revision. Who may not read patients sees none that has a mark for each."""
    known = [name for name in names if Scope.READ_PATIENTS in reading.asked.caller.scopes or name not in OF_PATIENTS]
    query = [(name, value) for name, value in options if name not in PINNED]
    query += [] if revision is None else [("revision", str(revision))]
    drawn = await together(
        *(
            reading.text(
                f"/v1/studies/{study}/charts/{name}.svg",
                [*query, ("width", width)],
                of_patients=name in OF_PATIENTS and width == "wide",  # one row for both widths
            )
            for name in known
            for width in ("wide", "narrow")
        )
    )
    pairs = zip(known, drawn[::2], drawn[1::2], strict=True)
    return [ShownChart(name, safe_svg(wide), safe_svg(narrow)) for name, wide, narrow in pairs if wide and narrow]
