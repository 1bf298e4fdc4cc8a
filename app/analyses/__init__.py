"""The questions that can be asked of a study, by name, and the report that answers several of them.

Each question has a module: it derives values, estimates, and counts the patients left out by reason.
"""

from functools import partial

from app.analyses import (
    baseline_table,
    ck_change,
    response_rates,
    specification_curve,
    steroid_sparing,
    weekly_change,
)
from app.analyses.answer import Answer, Options, Question, check_grouping
from app.analyses.ck_normal import ck_normal_groups, ck_normal_interval, ck_normal_time
from app.analyses.comparison import comparisons, repeated_measures
from app.analyses.improvement import definition_of_improvement, improvement_score
from app.analyses.planning import planning, what_is_missing
from app.analyses.primary_family import with_family
from app.analyses.report import Report, report_of
from app.analyses.safety import adverse_events, adverse_reactions, courses
from app.analyses.sensitivity import caveats, sensitivity
from app.analyses.sensitivity.caveat_findings import caveats_of
from app.analyses.without_effect import NullOptions, is_small
from app.derive.later_revision import keep
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.timeline.cohort import Cohort

QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        response_rates.QUESTION,
        weekly_change.QUESTION,
        ck_change.QUESTION,
        ck_normal_time.QUESTION,
        adverse_reactions.QUESTION,
        baseline_table.QUESTION,
        ck_normal_interval.QUESTION,
        ck_normal_groups.QUESTION,
        planning.QUESTION,
        what_is_missing.QUESTION,
        comparisons.QUESTION,
        repeated_measures.QUESTION,
        specification_curve.QUESTION,
        caveats.QUESTION,
        sensitivity.QUESTION,
        courses.QUESTION,
        adverse_events.QUESTION,
        improvement_score.QUESTION,
        definition_of_improvement.QUESTION,
        steroid_sparing.QUESTION,
    )
}
REPORTED = tuple(question for question in QUESTIONS.values() if question.in_report)
"""The questions that the report answers."""
_LEVEL = frozenset({"level"})
SCRIPTED: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions", "baseline-table",
            "ck-normal-interval", "safety", "improvement-score",
        ),
        _LEVEL,
    ),
    "ck-normal-groups": _LEVEL | {"by"},
}  # fmt: skip
"""The questions that a script in R answers, too, with the options that it takes; all but the level must be given."""


def answer(name: str, cohort: Cohort, protocol: Protocol, options: Options) -> Answer:
    """The answer to one question; raises `KeyError` for a name that is not in `QUESTIONS`."""
    study = DerivedStudy.of(cohort, protocol)
    found = with_family(QUESTIONS[name].ask(study, options, caveats_of), study, options)
    keep(study)
    return found


def report(cohort: Cohort, protocol: Protocol, options: Options) -> Report:
    """The answers to the questions of the report, with the flow of patients. `NullOptions` let it simulate."""
    study = DerivedStudy.of(cohort, protocol)
    found = report_of_derived(study, options)
    keep(study)
    return found


def report_of_derived(study: DerivedStudy, options: Options) -> Report:
    """The same of a study that is derived already, wholly or in part."""
    check_grouping("by", options.by, study.protocol)
    if isinstance(options, NullOptions) and options.null is None:
        options = options.model_copy(update={"null": is_small(study)})
    caveats_of_study = partial(caveats_of, known={})
    answers = (with_family(question.ask(study, options, caveats_of_study), study, options) for question in REPORTED)
    return report_of(study, {answer.analysis: answer for answer in answers}, options)


__all__ = ["QUESTIONS", "REPORTED", "Answer", "NullOptions", "Options", "Question", "Report", "answer", "report"]
