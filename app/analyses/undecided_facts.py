"""The caveats about facts that may be one: an answer has them where such facts are in figures and nobody decided."""

from collections.abc import Sequence

from app.derive.study import DerivedStudy
from app.timeline.same_facts import PairKind

UNDECIDED: dict[PairKind, str] = {
    "infusion": "undecided_infusions",
    "medication": "undecided_glucocorticoids",
    "adverse_event": "undecided_adverse_events",
}
"""The caveat about facts of each kind."""
_WHERE = "nobody has decided yet; a person decides on the worklist of the study (`set-aside`) or the page Add data."
UNDECIDED_CAVEATS = {
    "undecided_infusions": f"Where two infusions may be one, {_WHERE}",
    "undecided_glucocorticoids": f"Where two periods of a glucocorticoid may be one, {_WHERE}",
    "undecided_adverse_events": f"Where two adverse events may be one, {_WHERE}",
}
DAY_0_AND_RESCUE: tuple[PairKind, ...] = ("infusion", "medication")
"""What most figures depend on: infusions decide which values are the baseline, glucocorticoids what is a rescue."""


def undecided_codes(study: DerivedStudy, kinds: Sequence[PairKind] = DAY_0_AND_RESCUE) -> list[str]:
    """The caveats about facts of these kinds, where some of treated patients wait."""
    return [UNDECIDED[kind] for kind in kinds if study.undecided(kind).any()]
