"""Cohorts are simulated in which nothing happens: each patient has a constant level, with errors around it that are
correlated from draw to draw (AR(1) in days, on the logarithm for CK; scores are rounded to whole points), at the visits
and draws of the demonstration study. Every claim of change, onset and difference is asked for; the lower 99 % limit of
the share of cohorts with a supported one may not be above alpha. The model of repeated measures needs more patients: it
is asked of cohorts with twice the visits and draws of that study, and with two groups of four times as many. Then only
patients with a high CK at baseline are enrolled: CK falls without any treatment.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from app.analyses import QUESTIONS
from app.analyses.answer import Claim
from app.demo import TIMELINES
from app.derive.repeated_cohorts import RepeatedCohorts
from app.derive.study import DerivedStudy
from app.estimate.rates.proportion import proportion
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES
from tests.repetition import repeats
from tests.trust.figures import Figure

ALPHA = SEED_2008.weekly_change.alpha
SEED = 1976
LATEST = 2**62
DAYS = 14
"""In so many days the correlation of errors falls to 1/e."""
LEVEL = {"CK": (np.log(500), 0.8), "MMT": (60, 8), "ADL": (25, 4)}
"""Mean and deviation of the constant levels; CK as ln(CK)."""
ERROR = {"CK": 0.4, "MMT": 4.0, "ADL": 2.0}
"""Deviation of the errors around the level."""
CANDIDATES = 64
"""Patients who are looked at for each place where a high baseline is wanted; the first with one is enrolled."""


class Asked(NamedTuple):
    """A question with claims of change, onset or difference, by which groups, and of how many times the patients."""

    question: str
    by: str | None = None
    times: int = 1


OF_ONE_GROUP = (Asked("weekly-change"), Asked("ck-change"))
ASKED = (
    *OF_ONE_GROUP,
    Asked("comparisons", "diagnosis"),
    Asked("ck-normal-groups", "diagnosis"),
    Asked("repeated-measures", times=2),
    Asked("repeated-measures", "diagnosis", times=4),
)


@dataclass(frozen=True)
class Series:
    """The values of one measure of one patient: their rows, the root of their correlation, and the baseline."""

    measure: str
    rows: np.ndarray
    root: np.ndarray
    baseline: int | None


@dataclass(frozen=True)
class Design:
    """The visits and draws that every simulated cohort has."""

    cohort: Cohort
    series: tuple[Series, ...]


def design(times: int = 1) -> Design:
    """The visits and draws of the demonstration study, `times` times."""
    documents = json.loads(TIMELINES.read_text(encoding="utf-8"))
    timelines = [Timeline.model_validate_json(json.dumps(each)) for each in documents]
    cohort = Cohort.of_histories([normalise(each, LATEST) for each in timelines], None)
    if times > 1:
        cohort = RepeatedCohorts.of(DerivedStudy(cohort, SEED_2008)).repeated(times, {}).cohort
    return Design(cohort, tuple(_series(cohort)))


def _series(cohort: Cohort) -> Iterator[Series]:
    study = DerivedStudy(cohort, SEED_2008)
    for measure in LEVEL:
        codes, table = (LAB_CODES, cohort.labs) if measure == "CK" else (ASSESSMENT_CODES, cohort.assessments)
        of_measure = np.flatnonzero(table.code == codes.index(measure))
        records, base = study.analysis_values(measure), study.weeks(measure)[0]
        for patient in range(len(cohort)):
            rows = of_measure[table.patient[of_measure] == patient]
            if not len(rows):
                continue
            apart = np.abs(table.day[rows][:, None] - table.day[rows][None, :])
            root = np.linalg.cholesky(np.exp(-apart / DAYS) + 1e-9 * np.eye(len(rows)))
            at_baseline = rows == of_measure[records.row[base[patient]]] if base[patient] >= 0 else rows < 0
            yield Series(measure, rows, root, int(np.argmax(at_baseline)) if at_baseline.any() else None)


def cohort_without_effect(design: Design, random: np.random.Generator, *, selected: bool) -> Cohort:
    """One cohort. `selected`: only patients whose baseline CK is in the upper quarter are enrolled."""
    labs, scores = design.cohort.labs.value.copy(), design.cohort.assessments.score.copy()
    for each in design.series:
        (mean, spread), error = LEVEL[each.measure], ERROR[each.measure]
        size = CANDIDATES if selected and each.measure == "CK" else 1
        errors = random.standard_normal((size, len(each.rows))) @ each.root.T
        values = mean + spread * random.standard_normal((size, 1)) + error * errors
        chosen = values[0]
        if size > 1 and each.baseline is not None:
            high = values[:, each.baseline] > mean + 0.6745 * np.hypot(spread, error)
            chosen = values[int(np.argmax(high))]
        if each.measure == "CK":
            labs[each.rows] = np.round(np.exp(chosen), 1)
        else:
            best = SEED_2008.scale(each.measure).maximum
            scores[each.rows] = np.clip(np.round(chosen), 0, best)
    cohort = design.cohort
    return replace(cohort, labs=replace(cohort.labs, value=labs), assessments=replace(cohort.assessments, score=scores))


def supported(cohort: Cohort, questions: Iterable[Asked]) -> set[str]:
    """What is claimed of a cohort, each family of claims once."""
    study = DerivedStudy(cohort, SEED_2008)
    claims = [(asked.question, claim) for asked in questions for claim in _claims(study, asked)]
    return {family for name, claim in claims if claim.supported for family in _families(name, claim)}


def _claims(study: DerivedStudy, asked: Asked) -> Iterable[Claim]:
    question = QUESTIONS[asked.question]
    return question.ask(study, question.options_type(by=asked.by), lambda _context, _codes: ()).claims


def _families(name: str, claim: Claim) -> Iterator[str]:
    scale = "ln(CK)" if "ln(CK)" in claim.text else "CK in U/L" if claim.measure == "CK" else claim.measure
    match claim.code:
        case "change":
            yield f"`change` of {scale}, any week"
        case "onset" | "onset_of_worsening":
            yield f"`onset` or `onset_of_worsening` of {scale}"
            if claim.code == "onset":
                yield f"`onset` of {scale}"
        case "change_of_change":
            yield "`change_of_change`"
        case "change_by_model" if claim.group is None:
            yield f"`change_by_model` of {scale}, any week"
        case "difference":
            yield f"`difference`, any test of `{name}` by diagnosis"


FAMILIES = (
    *(f"`change` of {scale}, any week" for scale in ("ln(CK)", "CK in U/L", "MMT", "ADL")),
    *(f"`onset` or `onset_of_worsening` of {scale}" for scale in ("ln(CK)", "CK in U/L", "MMT", "ADL")),
    "`change_of_change`",
    *(f"`change_by_model` of {scale}, any week" for scale in ("ln(CK)", "MMT", "ADL")),
    *(f"`difference`, any test of `{asked.question}` by diagnosis" for asked in ASKED if asked.by is not None),
)
"""The claims whose share is held against alpha."""
SELECTED = ("`change` of ln(CK), any week", "`onset` of ln(CK)", "`change_of_change`")


def counts(cohorts: int, *, selected: bool) -> Mapping[str, int]:
    """In how many cohorts each family of claims has a supported one."""
    found: Counter[str] = Counter()
    for times in (1,) if selected else sorted({asked.times for asked in ASKED}):
        the_design = design(times)
        asked = OF_ONE_GROUP if selected else [each for each in ASKED if each.times == times]
        for number in range(cohorts):
            random = np.random.default_rng([SEED, number, selected if times == 1 else times])
            found.update(supported(cohort_without_effect(the_design, random, selected=selected), asked))
    return found


def lower_limit(count: int, cohorts: int) -> float:
    """The lower 99 % limit of a share (Clopper-Pearson, one-sided)."""
    [interval] = proportion(count, cohorts, level=0.98, methods=("clopper-pearson",)).intervals
    return interval.low


def run(full: bool) -> list[Figure]:
    """Count the supported claims in cohorts without effect, unselected and selected."""
    cohorts = 2000 if full else repeats(30)
    unselected, high = (counts(cohorts, selected=selected) for selected in (False, True))
    figures = [
        Figure("P23", f"nothing happens, nobody is selected: {family}", _share(unselected[family], cohorts))
        for family in FAMILIES
    ]
    figures += [
        Figure("P23", f"nothing happens, patients are enrolled with a high CK: {family}", _share(high[family], cohorts))
        for family in SELECTED
    ]
    above = {family: unselected[family] for family in FAMILIES if lower_limit(unselected[family], cohorts) > ALPHA}
    assert above == {}, f"above alpha in {cohorts} cohorts"
    return figures


def _share(count: int, cohorts: int) -> str:
    return (
        f"{count} of {cohorts} cohorts ({100 * count / cohorts:.1f} %); lower 99 % limit "
        f"{100 * lower_limit(count, cohorts):.1f} %"
    )
