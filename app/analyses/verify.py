"""Which methods reproduce a figure that a paper prints.

A printed interval is compared with every method in use at the stated level and, where none fits, at the other usual
levels. An interval that is not reproduced may be a misprint, have another denominator or come from a method that is not
tried here; the answer only says which methods were tried.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, RootModel, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.estimate.rates.rounded_figures import Agreement, agreement, of_difference, of_proportion, of_rate
from app.estimate.results import Number, Result
from app.protocol.parts import Part, contradiction

USUAL_LEVELS = (0.95, 0.9, 0.99, 0.8)
_LARGEST = 10_000_000

_PRINTED = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


def _printed(text: str) -> str:
    if _PRINTED.fullmatch(text) is None:
        sentence = "Digits, with at most one point among them: no comma, no sign of per cent, no exponent."
        raise PydanticCustomError("bad_number", "{sentence}", {"sentence": sentence})
    return text


Printed = Annotated[
    str, AfterValidator(_printed), WithJsonSchema({"type": "string", "pattern": f"^{_PRINTED.pattern}$"})
]
"""A printed number, as text: the number of decimals matters, and a JSON number would lose the last zero of 42.0."""
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Size = Annotated[int, Field(ge=1, le=_LARGEST)]
Unit = Literal["percent", "fraction"]
Kind = Literal["proportion", "rate", "difference"]
Verdict = Literal["reproduced", "but_for_the_last_digit", "not_reproduced", "no_interval"]


class PrintedInterval(Part):
    """A printed confidence interval."""

    low: Printed = Field(description="Lower limit, as text.", examples=["19.6"])
    high: Printed = Field(description="Upper limit, as text.", examples=["64.6"])
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Its confidence level.", examples=[0.95])

    @model_validator(mode="after")
    def _must_agree(self) -> "PrintedInterval":
        if Decimal(self.low) > Decimal(self.high):
            raise contradiction("interval: low must not exceed high.")
        return self


class PrintedProportion(Part):
    """k of n patients."""

    kind: Literal["proportion"] = Field(description="What is printed.", examples=["proportion"])
    k: Count = Field(description="Patients who have it.", examples=[8])
    n: Size = Field(description="Patients in whom it is known.", examples=[19])
    printed_in: Unit = Field(description="Unit of the printed figures.", examples=["percent"])
    value: Printed | None = Field(default=None, description="The printed rate, as text.", examples=["42.0"])
    interval: PrintedInterval | None = Field(default=None, description="The printed interval.")

    @model_validator(mode="after")
    def _must_agree(self) -> "PrintedProportion":
        if self.k > self.n:
            raise contradiction("k: must not exceed n.")
        return self


class PrintedRate(Part):
    """Events per unit of exposure."""

    kind: Literal["rate"] = Field(description="What is printed.", examples=["rate"])
    events: Count = Field(description="Events counted.", examples=[10])
    exposure: float = Field(ge=1e-6, le=1e12, description="Exposure: patient-years, infusions.", examples=[156.88])
    per: float = Field(
        default=1, ge=1e-6, le=1e9, description="The number of units that the printed rate refers to.", examples=[100]
    )
    value: Printed | None = Field(default=None, description="The printed rate, as text.", examples=["6.37"])
    interval: PrintedInterval | None = Field(default=None, description="The printed interval.")


class PrintedDifference(Part):
    """k1 of n1 against k2 of n2: the difference of the two rates."""

    kind: Literal["difference"] = Field(description="What is printed.", examples=["difference"])
    k1: Count = Field(description="Patients of the first group who have it.", examples=[37])
    n1: Size = Field(description="Patients of the first group.", examples=[47])
    k2: Count = Field(description="Patients of the second group who have it.", examples=[21])
    n2: Size = Field(description="Patients of the second group.", examples=[48])
    printed_in: Unit = Field(description="Unit of the printed figures.", examples=["percent"])
    value: Printed | None = Field(default=None, description="The printed difference, as text.", examples=["34.97"])
    interval: PrintedInterval | None = Field(default=None, description="The printed interval.")

    @model_validator(mode="after")
    def _must_agree(self) -> "PrintedDifference":
        if self.k1 > self.n1 or self.k2 > self.n2:
            raise contradiction("k1, k2: must not exceed n1, n2.")
        return self


Figure = PrintedProportion | PrintedRate | PrintedDifference


class PublishedFigure(RootModel[Annotated[Figure, Field(discriminator="kind")]]):
    """A printed figure with its counts."""


class CheckedValue(Result):
    """The printed rate or difference, and the one computed from the counts."""

    printed: str = Field(description="As printed.", examples=["42.0"])
    computed: Number = Field(description="From the counts, in the printed unit.", examples=[42.1052631579])
    agreement: Agreement = Field(
        description="`agrees`: it rounds to the printed figure; `last_digit`: less than one and a half units of the "
        "last printed digit away; `differs`.",
        examples=["last_digit"],
    )


class Candidate(Result):
    """The interval of one method at one level."""

    method: str = Field(description="The method.", examples=["clopper-pearson"])
    level: Number = Field(description="Its confidence level.", examples=[0.95])
    low: Number = Field(description="Lower limit, in the printed unit.", examples=[20.2507])
    high: Number = Field(description="Upper limit, in the printed unit.", examples=[66.5008])
    low_agreement: Agreement = Field(description="Whether it is the printed lower limit.", examples=["differs"])
    high_agreement: Agreement = Field(description="Whether it is the printed upper limit.", examples=["differs"])


class Verification(Result):
    """Which methods reproduce the printed figure."""

    kind: Kind = Field(description="What was printed.", examples=["proportion"])
    value: CheckedValue | None = Field(description="The printed rate or difference; null where none was sent.")
    verdict: Verdict = Field(
        description="Of the interval: `reproduced`: a method gives it; `but_for_the_last_digit`: a method gives it "
        "except for the last digit; `not_reproduced`: no method gives it; `no_interval`: none was sent.",
        examples=["not_reproduced"],
    )
    reproduced_by: tuple[str, ...] = Field(description="The methods that reproduce the interval.", examples=[[]])
    level: Number | None = Field(
        description="The level at which they do: the stated one, else another usual one.", examples=[None]
    )
    text: str = Field(description="The verdict as a sentence.", examples=["No method that was tried reproduces it."])
    candidates: tuple[Candidate, ...] = Field(
        description="Every method at the stated level, the best fit first.", examples=[[]]
    )


def verify(figure: Figure) -> Verification:
    """Compare a printed figure with its counts; the methods are those of `app.estimate.rates.rounded_figures`."""
    value, scale = _computed(figure)
    printed = figure.interval
    checked = None if figure.value is None else CheckedValue(
        printed=figure.value, computed=value * scale, agreement=agreement(value * scale, figure.value)
    )  # fmt: skip
    if printed is None:
        return Verification(
            kind=figure.kind,
            value=checked,
            verdict="no_interval",
            reproduced_by=(),
            level=None,
            text="No interval was sent.",
            candidates=(),
        )
    stated = _candidates(figure, printed, printed.level, scale)
    best, level = _best_candidates(figure, printed, scale, stated)
    methods = [candidate.method for candidate in best]
    verdict: Verdict = "not_reproduced"
    if best:
        verdict = "reproduced" if _worse_limit(best[0]) == 0 else "but_for_the_last_digit"
    return Verification(
        kind=figure.kind,
        value=checked,
        verdict=verdict,
        reproduced_by=tuple(methods),
        level=level,
        text=_sentence(verdict, methods, level, printed.level),
        candidates=tuple(stated),
    )


def _computed(figure: Figure) -> tuple[float, float]:
    """The rate or difference, and the factor that converts it to the printed unit."""
    match figure:
        case PrintedProportion():
            return figure.k / figure.n, 100.0 if figure.printed_in == "percent" else 1.0
        case PrintedRate():
            return figure.events / figure.exposure, figure.per
        case PrintedDifference():
            scale = 100.0 if figure.printed_in == "percent" else 1.0
            return figure.k1 / figure.n1 - figure.k2 / figure.n2, scale


def _limits(figure: Figure, level: float) -> tuple[Mapping[str, tuple[float, float]], tuple[float, float]]:
    """The interval of every method, and the possible range: a limit outside it may be printed as its end."""
    match figure:
        case PrintedProportion():
            return of_proportion(figure.k, figure.n, level), (0.0, 1.0)
        case PrintedRate():
            return of_rate(figure.events, figure.exposure, level), (0.0, float("inf"))
        case PrintedDifference():
            return of_difference((figure.k1, figure.n1), (figure.k2, figure.n2), level), (-1.0, 1.0)


def _candidates(figure: Figure, printed: PrintedInterval, level: float, scale: float) -> list[Candidate]:
    limits, (least, most) = _limits(figure, level)
    rows = [
        Candidate(
            method=method,
            level=level,
            low=low * scale,
            high=high * scale,
            low_agreement=_agreement_of_limit(low * scale, max(low, least) * scale, printed.low),
            high_agreement=_agreement_of_limit(high * scale, min(high, most) * scale, printed.high),
        )
        for method, (low, high) in limits.items()
    ]
    low_limit, high_limit = float(printed.low), float(printed.high)
    return sorted(
        rows, key=lambda row: (_worse_limit(row), abs(row.low - low_limit) + abs(row.high - high_limit), row.method)
    )


def _agreement_of_limit(limit: float, within: float, printed: str) -> Agreement:
    """The better agreement of a limit, and of the same limit cut off at the end of its range, as some packages do."""
    return min(agreement(limit, printed), agreement(within, printed), key=_ORDER.index)


_ORDER: tuple[Agreement, ...] = ("agrees", "last_digit", "differs")


def _worse_limit(row: Candidate) -> int:
    """The agreement of the limit that fits worse, as a place in `_ORDER`."""
    return max(_ORDER.index(row.low_agreement), _ORDER.index(row.high_agreement))


def _best_candidates(
    figure: Figure, printed: PrintedInterval, scale: float, stated: list[Candidate]
) -> tuple[list[Candidate], float | None]:
    """The methods that fit exactly, at the stated or another usual level, else those that differ in the last digit."""
    others = [level for level in USUAL_LEVELS if level != printed.level]
    for order in (0, 1):
        best = [row for row in stated if _worse_limit(row) == order]
        if best:
            return best, printed.level
        if order == 0:
            for level in others:
                best = [row for row in _candidates(figure, printed, level, scale) if _worse_limit(row) == 0]
                if best:
                    return best, level
    return [], None


def _sentence(verdict: Verdict, methods: list[str], level: float | None, stated: float) -> str:
    if level is None:
        return "No method that was tried reproduces the interval from these counts."
    sentence = f"The interval is that of {', '.join(methods)}"
    if level != stated:
        sentence += f" at level {level:g}, not {stated:g}"
    return sentence + (" but for the last digit." if verdict == "but_for_the_last_digit" else ".")
