"""The composite definitions of improvement in myositis: the ACR/EULAR 2016 score and the IMACS 2004 definition.

The table of the score is the published one (`TABLE`, `THRESHOLDS`). A protocol declares what the table does not give:
the population, the instruments, the ranges of the enzymes and the rule of worsening.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from app.protocol.parts import Part, Week

Population = Literal["adult", "juvenile"]
Muscle = Literal["MMT8", "MMT8_UNILATERAL", "MMT26", "MMT", "CMAS"]
Enzyme = Literal["CK", "ALDOLASE", "LDH", "AST", "ALT"]
Level = Literal["minimal", "moderate", "major"]
CoreSetMeasure = Literal["physician_global", "patient_global", "muscle_strength", "function", "enzyme", "extramuscular"]


class Bands(NamedTuple):
    """The scores of one measure: `scores[k]` for an improvement above `cuts[k - 1]` up to and including `cuts[k]`, in
    per cent of the range of the measure.
    """

    cuts: tuple[int, int, int, int]
    scores: tuple[float, float, float, float, float]


TABLE: dict[CoreSetMeasure, Bands] = {
    "physician_global": Bands((5, 15, 25, 40), (0, 7.5, 15, 17.5, 20)),
    "patient_global": Bands((5, 15, 25, 40), (0, 2.5, 5, 7.5, 10)),
    "muscle_strength": Bands((2, 10, 20, 30), (0, 10, 20, 27.5, 32.5)),
    "function": Bands((5, 15, 25, 40), (0, 5, 7.5, 7.5, 10)),
    "enzyme": Bands((5, 15, 25, 40), (0, 2.5, 5, 7.5, 7.5)),
    "extramuscular": Bands((5, 15, 25, 40), (0, 7.5, 12.5, 15, 20)),
}
"""One table for adults and children. All scores are multiples of 2.5, so their sums are exact; the greatest is 100."""

TABLE_SOURCE = (
    "Aggarwal 2017, doi 10.1136/annrheumdis-2017-211400, and Rider 2017, doi 10.1093/rheumatology/kex226, table 3"
)

THRESHOLDS: dict[Population, dict[Level, int]] = {
    "adult": {"minimal": 20, "moderate": 40, "major": 60},
    "juvenile": {"minimal": 30, "moderate": 45, "major": 70},
}
"""Least score of each level; a level includes all higher levels."""


class CoreSet(Part):
    """The instrument of each of the six core set measures."""

    population: Population = Field(
        description="Adults or children; it is never guessed from a diagnosis or a year of birth.",
        examples=["adult"],
    )
    physician_global: Literal["PHYSICIAN_GLOBAL"] = Field(
        default="PHYSICIAN_GLOBAL", description="Physician global activity.", examples=["PHYSICIAN_GLOBAL"]
    )
    patient_global: Literal["PATIENT_GLOBAL"] = Field(
        default="PATIENT_GLOBAL", description="Patient or parent global activity.", examples=["PATIENT_GLOBAL"]
    )
    muscle_strength: Muscle = Field(description="Muscle strength; MMT needs a declared scale.", examples=["MMT8"])
    function: Literal["HAQ", "CHAQ"] = Field(description="Physical function.", examples=["HAQ"])
    extramuscular: Literal["EXTRAMUSCULAR"] = Field(
        default="EXTRAMUSCULAR", description="Extramuscular activity.", examples=["EXTRAMUSCULAR"]
    )
    enzymes: tuple[Enzyme, ...] = Field(
        default=("CK", "ALDOLASE", "LDH", "AST", "ALT"),
        min_length=1,
        description="The enzymes. The one that is most abnormal at baseline, in multiples of its own upper limit of "
        "normal, is followed; of equal ones the first in this list.",
        examples=[["CK", "ALDOLASE", "LDH", "AST", "ALT"]],
    )

    @property
    def measures(self) -> tuple[str, ...]:
        """All analytes and instruments, each once."""
        return (
            self.physician_global,
            self.patient_global,
            self.muscle_strength,
            self.function,
            *self.enzymes,
            self.extramuscular,
        )


class EnzymeRange(Part):
    """The range of an enzyme; the score divides the decrease of the enzyme by this range."""

    enzyme: Enzyme = Field(description="The enzyme.", examples=["CK"])
    upper_limits: float = Field(
        gt=0, le=1000, description="The range as a multiple of the upper limit of normal.", examples=[15]
    )
    source: str = Field(
        default="unverified",
        min_length=1,
        max_length=200,
        description="Publication of the multiple; `unverified` adds a caveat to the answers.",
        examples=["unverified"],
    )


ENZYME_RANGES = (
    EnzymeRange(enzyme="CK", upper_limits=15),
    EnzymeRange(enzyme="ALDOLASE", upper_limits=6),
    EnzymeRange(enzyme="LDH", upper_limits=3),
    EnzymeRange(enzyme="AST", upper_limits=3),
    EnzymeRange(enzyme="ALT", upper_limits=3),
)
"""Multiples of the supplement of the criteria, from memory, because it could not be read. An enzyme changes the score
by at most 7.5 points.
"""


class Worsening(Part):
    """When a visit is worse than the baseline. Two such visits in a row confirm the worsening.

    A visit is worse if physician global and muscle strength are both worse, or extramuscular activity is worse, or at
    least `measures` core set measures are worse. Visits in a row are visits with at least one core set measure that has
    a baseline. Any other visit counts as missed; it neither confirms nor refutes the worsening.
    Operational form of the IMACS definition (Oddis 2005, doi 10.1002/art.21291) as the ProDERM trial used it.
    """

    physician_global_points: float = Field(
        default=2, gt=0, description="Least worsening of physician global in points (cm).", examples=[2]
    )
    muscle_percent: float = Field(
        default=20,
        gt=0,
        le=100,
        description="Least worsening of muscle strength in per cent of the baseline.",
        examples=[20],
    )
    extramuscular_points: float = Field(
        default=2, gt=0, description="Least worsening of extramuscular activity in points (cm).", examples=[2]
    )
    measures: int = Field(default=3, ge=1, le=6, description="Least number of measures that are worse.", examples=[3])
    measures_percent: float = Field(
        default=30, gt=0, description="Least worsening of each of them in per cent of the baseline.", examples=[30]
    )
    count_enzyme: bool = Field(
        default=True, description="Whether the enzyme is one of the measures (six), or not (five, as in ProDERM).",
        examples=[True],
    )  # fmt: skip
    zero_baseline_floor_percent: float = Field(
        default=10,
        gt=0,
        le=100,
        description="With a baseline of 0, a score is worse if it is at least this percentage of its scale.",
        examples=[10],
    )


class ImprovementScore(Part):
    """The ACR/EULAR 2016 Total Improvement Score at each visit, and the rule of worsening."""

    core_set: CoreSet = Field(
        description="The six measures.",
        examples=[{"population": "adult", "muscle_strength": "MMT8", "function": "HAQ"}],
    )
    enzyme_ranges: tuple[EnzymeRange, ...] = Field(
        default=ENZYME_RANGES,
        description="Ranges of the enzymes.",
        examples=[[{"enzyme": "CK", "upper_limits": 15, "source": "unverified"}]],
    )
    weeks: tuple[Week, ...] | None = Field(
        default=None,
        description="Weeks whose visits are scored; null: all planned weeks after treatment.",
        examples=[None, [4, 8, 16]],
    )
    worsening: Worsening = Field(
        default=Worsening(), description="The rule of worsening.", examples=[{"count_enzyme": True}]
    )

    @property
    def thresholds(self) -> dict[Level, int]:
        """Least score of each level in the declared population."""
        return THRESHOLDS[self.core_set.population]

    def range_of(self, enzyme: str) -> EnzymeRange:
        """The declared range of one of the declared enzymes."""
        return next(each for each in self.enzyme_ranges if each.enzyme == enzyme)


class DefinitionOfImprovement(Part):
    """The preliminary IMACS definition of improvement (Rider 2004, doi 10.1002/art.20349), relative to baseline.

    Improved: enough measures are improved, not too many are worse, and muscle strength is not worse.
    """

    core_set: CoreSet = Field(
        description="The six measures.",
        examples=[{"population": "adult", "muscle_strength": "MMT8", "function": "HAQ"}],
    )
    improved_percent: float = Field(
        default=20, gt=0, le=100, description="Least improvement in per cent of the baseline.", examples=[20]
    )
    improved_measures: int = Field(
        default=3, ge=1, le=6, description="Least number of improved measures.", examples=[3]
    )
    worse_percent: float = Field(
        default=25, gt=0, description="Least worsening in per cent of the baseline.", examples=[25]
    )
    worse_measures: int = Field(
        default=2, ge=0, le=6, description="Greatest number of measures that may be worse.", examples=[2]
    )
    zero_baseline_floor_percent: float = Field(
        default=10,
        gt=0,
        le=100,
        description="With a baseline of 0, a score is never improved, and worse if it is at least this percentage of "
        "its scale.",
        examples=[10],
    )
    weeks: tuple[Week, ...] | None = Field(
        default=None,
        description="Weeks whose visits are judged; null: all planned weeks after treatment.",
        examples=[None, [4, 8, 16]],
    )


Composite = ImprovementScore | DefinitionOfImprovement


def judged_weeks(declared: Composite, planned: Sequence[int]) -> tuple[int, ...]:
    """The weeks whose visits a definition judges."""
    return tuple(week for week in planned if week > 0) if declared.weeks is None else declared.weeks


def objections(name: str, declared: Composite, planned: Sequence[int], scaled: Collection[str]) -> Iterator[str]:
    """The contradictions of a definition: in itself, with the planned weeks, or with the declared scales."""
    core_set, weeks = declared.core_set, declared.weeks
    if core_set.population == "adult" and (core_set.muscle_strength == "CMAS" or core_set.function == "CHAQ"):
        yield f"{name}.core_set: CMAS and CHAQ are instruments for children; the population is adult."
    if core_set.population == "juvenile" and core_set.function == "HAQ":
        yield f"{name}.core_set: HAQ is an instrument for adults; the population is juvenile."
    if core_set.muscle_strength == "MMT" and "MMT" not in scaled:
        yield f"{name}.core_set.muscle_strength: this measure needs its scale and direction in scales."
    if len(set(core_set.enzymes)) < len(core_set.enzymes):
        yield f"{name}.core_set.enzymes: declare each enzyme once."
    if isinstance(declared, ImprovementScore):
        yield from _range_objections(name, declared)
    if weeks is not None and (list(weeks) != sorted(set(weeks)) or not weeks or weeks[0] <= 0):
        yield f"{name}.weeks: declare each week once, ascending, all after treatment."
    if not set(weeks or ()) <= set(planned):
        yield f"{name}.weeks: this week is not among visits.weeks."
    if not judged_weeks(declared, planned):
        yield f"{name}.weeks: no planned week is after treatment."


def _range_objections(name: str, declared: ImprovementScore) -> Iterator[str]:
    ranged = [each.enzyme for each in declared.enzyme_ranges]
    if len(set(ranged)) < len(ranged):
        yield f"{name}.enzyme_ranges: declare each enzyme once."
    if not set(declared.core_set.enzymes) <= set(ranged):
        yield f"{name}.enzyme_ranges: an enzyme of the core set has no range."
