"""One short module per question: derive, estimate, say who was left out and why."""

from app.analyses import (
    adverse_reactions,
    baseline_table,
    ck_change,
    ck_normal_time,
    response_rates,
    weekly_change,
)
from app.analyses.frame import Answer, Options, Question
from app.analyses.whole import Report, report_of
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.timeline.columns import Cohort

QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        response_rates.QUESTION,
        weekly_change.QUESTION,
        ck_change.QUESTION,
        ck_normal_time.QUESTION,
        adverse_reactions.QUESTION,
        baseline_table.QUESTION,
    )
}
REPORTED = tuple(question for question in QUESTIONS.values() if question.in_report)
"""The questions that the whole report answers."""


def answer(name: str, cohort: Cohort, protocol: Protocol, options: Options) -> Answer:
    """The answer to one question; raises `KeyError` for a name that is not in `QUESTIONS`."""
    return QUESTIONS[name].ask(DerivedStudy(cohort, protocol), options)


def report(cohort: Cohort, protocol: Protocol, options: Options) -> Report:
    """The answers to the questions of the whole report, with the flow of patients."""
    study = DerivedStudy(cohort, protocol)
    return report_of(study, {question.name: question.ask(study, options) for question in REPORTED})


__all__ = ["QUESTIONS", "REPORTED", "Answer", "Options", "Question", "Report", "answer", "report"]
