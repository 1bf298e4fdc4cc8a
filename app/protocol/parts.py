"""What all parts of a protocol share: strict frozen models, the words of their fields, and contradictions."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.timeline.vocabulary import AssessmentCode

Measure = Literal["CK"] | AssessmentCode
Week = Annotated[int, Field(ge=-520, le=520)]
Day = Annotated[int, Field(ge=-3650, le=3650)]
Product = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class Part(BaseModel):
    """What all parts of a protocol share: strict, frozen, nothing unknown."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def contradiction(sentence: str) -> PydanticCustomError:
    """The error for a definition that contradicts another; `sentence` says which, without a submitted value."""
    return PydanticCustomError("contradiction", "{sentence}", {"sentence": sentence})
