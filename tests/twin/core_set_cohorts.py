"""Small, difficult cohorts with core set measures, and protocols that judge them: cuts, bounds, limits, gaps, ties."""

from typing import Any

from hypothesis import strategies as st

from app.protocol.improvement import CoreSet, DefinitionOfImprovement, EnzymeRange, ImprovementScore, Worsening
from app.protocol.model import Protocol, Visits, WeeklyChange
from app.protocol.parts import Scale
from app.protocol.presets import SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from tests.twin.cohorts import FIRST_DATE, changed

WEEKS = (1, 2, 4)
VISITS = Visits(weeks=(-4, *WEEKS))
ENZYMES = ("LDH", "CK", "AST")


def _protocol(core_set: CoreSet, worsening: Worsening, **parts: Any) -> Protocol:
    ranges = (
        EnzymeRange(enzyme="CK", upper_limits=15),
        EnzymeRange(enzyme="LDH", upper_limits=3.3),
        EnzymeRange(enzyme="AST", upper_limits=0.7),
    )
    return changed(
        SEED_2008,
        responses=(),
        visits=VISITS,
        weekly_change=WeeklyChange(measures=("CK",), weeks=WEEKS),
        improvement_score=ImprovementScore(core_set=core_set, enzyme_ranges=ranges, worsening=worsening),
        definition_of_improvement=DefinitionOfImprovement(core_set=core_set),
        **parts,
    )


PROTOCOLS = [
    _protocol(
        CoreSet(population="adult", muscle_strength="MMT8", function="HAQ", enzymes=ENZYMES), Worsening()
    ),
    _protocol(
        CoreSet(population="juvenile", muscle_strength="MMT", function="CHAQ", enzymes=("CK", "LDH")),
        Worsening(count_enzyme=False, physician_global_points=1.1, measures=2),
        scales={
            "MMT": Scale(minimum=0.2, maximum=1.1, better="lower"), "ADL": Scale(maximum=50, better="higher"),
        },
        upper_limit="nearest_same_laboratory",
    ),
]  # fmt: skip
VAS = st.sampled_from([0.0, 0.0, 0.5, 0.6, 0.7, 1.0, 1.1, 1.3, 2.0, 2.2, 2.6, 3.0, 3.5, 4.0, 4.1, 5.0, 10.0])
SCORE: dict[str, st.SearchStrategy[float]] = {
    "PHYSICIAN_GLOBAL": VAS,
    "PATIENT_GLOBAL": VAS,
    "EXTRAMUSCULAR": VAS,
    "MMT8": st.sampled_from([0.0, 90.0, 100.0, 103.0, 104.0, 115.0, 116.0, 120.0, 123.0, 130.0, 145.0, 150.0]),
    "MMT": st.sampled_from([0.2, 0.218, 0.29, 0.38, 0.47, 0.5, 0.6, 0.75, 1.1]),
    "HAQ": st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 1.25, 1.5, 3.0]),
    "CHAQ": st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 1.25, 1.5, 3.0]),
}
RESULT = st.sampled_from([0.0, 1.1, 70.0, 140.0, 150.0, 200.0, 260.0, 300.0, 450.0, 451.0, 600.0, 3000.0, 0.077])
LIMIT = st.sampled_from([200.0] * 10 + [100.0, 100.0, 163.3, 163.3, 1.1, None])
COMPARATOR = st.sampled_from([None] * 12 + ["<", "<=", ">", ">="])
BASELINE_DAYS = st.sampled_from([[0]] * 9 + [[-5], [-5, 0], [0, 0], []])
SEEN = st.sampled_from([True] * 9 + [False])
SHIFT = st.sampled_from([0] * 12 + [-3, 3, 4])
REPEATED = st.sampled_from([False, False, False, False, True])
MISSED = st.sampled_from([(), (), (), (1,), (2,), (4,), (1, 2)])


def _days(draw: st.DrawFn, missed: tuple[int, ...]) -> list[int]:
    days = list(draw(BASELINE_DAYS))
    for week in WEEKS:
        if week not in missed and draw(SEEN):
            day = 7 * week + draw(SHIFT)
            days += [day] * (2 if draw(REPEATED) else 1)
    return days


@st.composite
def cohorts(draw: st.DrawFn, protocol: Protocol) -> Cohort:
    """The cohort of up to three patients with the measures of a protocol."""
    assert protocol.improvement_score is not None
    core_set = protocol.improvement_score.core_set
    people, labs, scores, infusions = [], [], [], []
    for number in range(draw(st.integers(0, 3))):
        who, missed = f"P{number}", draw(MISSED)
        people.append(PatientRow(who))
        infusions.append(InfusionRow(who, "IVIG", FIRST_DATE, None, False, 0.4, "g/kg", None))
        for code in core_set.measures:
            found: dict[tuple[int, float], Any] = {}
            for day in _days(draw, missed):
                if code in SCORE:
                    value = draw(SCORE[code])
                    found[day, value] = AssessmentRow(who, code, FIRST_DATE + day, None, False, value, None, None)
                else:
                    value, limit = draw(RESULT), draw(LIMIT)
                    sign = draw(COMPARATOR) if value else None
                    found[day, value] = LabRow(who, code, FIRST_DATE + day, None, False, value, limit, sign, None, "A")
            (scores if code in SCORE else labs).extend(found.values())
    return Cohort.assemble(people, labs, scores, infusions, [], [])


CASES = st.sampled_from(PROTOCOLS).flatmap(lambda protocol: st.tuples(cohorts(protocol), st.just(protocol)))
