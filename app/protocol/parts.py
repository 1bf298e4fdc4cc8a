"""What the parts of a protocol have in common: the base model, types of fields, scales, and contradictions."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.timeline.vocabulary import INSTRUMENTS, AssessmentCode, Direction

LEAST_RANGE = 0.01

Measure = Literal["CK"] | AssessmentCode
Week = Annotated[int, Field(ge=-520, le=520)]
Day = Annotated[int, Field(ge=-3650, le=3650)]
Product = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class Part(BaseModel):
    """The base of all parts of a protocol: strict, frozen, without unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def contradiction(sentence: str) -> PydanticCustomError:
    """The error of a definition that contradicts another one. `sentence` names both, without a submitted value."""
    return PydanticCustomError("contradiction", "{sentence}", {"sentence": sentence})


Scaled = Literal["MMT", "ADL"]
"""The instruments whose scale differs between centres; the protocol declares it."""


BY_ALL = ("diagnosis", "sex", "age_band", "laboratory")
"""What every question can form subgroups by, besides the declared attributes of patients."""
BY_COURSE = "course"

Analogue = Literal["PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "EXTRAMUSCULAR"]
"""The visual analogue scales, whose length may differ."""
SentMaximum = Annotated[float, Field(gt=0, le=1000)]


class Scale(Part):
    """The range of an instrument and which end is better."""

    minimum: float = Field(default=0, ge=-10_000, le=10_000, description="Least score.", examples=[0])
    maximum: float = Field(ge=-10_000, le=10_000, description="Greatest score.", examples=[100])
    better: Direction = Field(description="Which end of the scale is better; it is never guessed.", examples=["higher"])

    @model_validator(mode="after")
    def _range_must_not_be_empty(self) -> Self:
        if self.maximum - self.minimum < LEAST_RANGE:
            raise contradiction("scales: the greatest score must be greater than the least score by 0.01 or more.")
        return self


def scale_of(measure: str, declared: Mapping[Scaled, Scale]) -> Scale | None:
    """The scale of an instrument: its own fixed one, or the declared one; `None` if it has neither."""
    fixed = INSTRUMENTS[measure]
    if fixed.maximum is not None and fixed.better is not None:
        return Scale(minimum=0, maximum=fixed.maximum, better=fixed.better)
    return next((scale for name, scale in declared.items() if name == measure), None)
