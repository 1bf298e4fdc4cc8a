"""All rules in the order of the specification."""

from dataclasses import dataclass

from tests.spec import (
    rules_baseline,
    rules_ck_interval,
    rules_ck_normal,
    rules_ck_rescue,
    rules_claims,
    rules_conventions,
    rules_core_set,
    rules_courses,
    rules_general,
    rules_honesty,
    rules_improvement,
    rules_laboratory,
    rules_presets,
    rules_reference,
    rules_response,
    rules_safety,
    rules_specifications,
    rules_steroids,
    rules_visits,
    rules_weekly,
)
from tests.spec.rule import Rule

ROWS = (
    # the table of the preset seed-2008
    "day",
    "treatment",
    "course",
    "baseline",
    "visit week w",
    "same day, several values",
    "safety set",
    "efficacy set",
    "MMT responder",
    "ADL responder",
    "CK responder",
    "response rate",
    "any criterion in any window",
    "missing = non-responder",
    "response and rescue",
    "myositis-2026",
    "weekly change",
    "before/after CK",
    "CK-normal time",
    "rescue before the event",
    "adverse reaction",
    # below the table
    "scales",
    "reference cohort",
    # the other preset that ships
    "relative-20",
    # the table of conventions
    "KM median when S(t) = 0.5 over an interval",
    "plateau at 0.5 that runs to the end of follow-up",
    "CI of S(t) and of the median",
    "signed-rank zeros",
    "signed-rank p",
    "proportion CI",
    "multiplicity",
    "profile",
    # the facts of the laboratory
    "units",
    "LOINC",
    "comparators",
    "status",
    "upper limit",
    "nearest_same_laboratory",
    # what speaks against the figures
    "caveats",
    "sensitivity",
    # composite definitions of improvement
    "acr-eular-2016-adult",
    "acr-eular-2016-juvenile",
    "imacs-2004",
    # every definition side by side
    "specification curve",
    "baseline rules",
    "missing values",
    "remission",
    # repeated courses and safety
    "repeated courses",
    "dose in grams",
    "risk windows",
    "severity",
    # one fact from two sources
    "same fact",
    # doses of glucocorticoids
    "steroid sparing",
)
"""The rows of the specification, by name. Each has at least one rule."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """Rules that are read together."""

    title: str
    rules: tuple[Rule, ...]


SCALES, *RELATIVE_20 = rules_presets.RULES
CHAPTERS = (
    Chapter("Treatment and baseline", rules_baseline.RULES),
    Chapter("Visits and populations", rules_visits.RULES),
    Chapter("Response", rules_response.RULES + rules_general.RULES),
    Chapter("Change over the weeks", rules_weekly.RULES),
    Chapter("Time with normal CK", rules_ck_normal.RULES + rules_ck_rescue.RULES + rules_ck_interval.RULES),
    Chapter("Adverse reactions", rules_safety.RULES),
    Chapter("Scales", (SCALES,)),
    Chapter("The reference cohort", rules_reference.RULES),
    Chapter("The preset relative-20", tuple(RELATIVE_20)),
    Chapter("Statistical conventions", rules_conventions.RULES),
    Chapter("Laboratory facts", rules_laboratory.RULES),
    Chapter("Caveats and sensitivity", rules_honesty.RULES),
    Chapter("Composite definitions of improvement", rules_improvement.RULES + rules_core_set.RULES),
    Chapter("Every definition side by side", rules_specifications.RULES),
    Chapter("Repeated courses and safety", rules_courses.RULES),
    Chapter("Doses of glucocorticoids", rules_steroids.RULES),
)
RULES = tuple(rule for chapter in CHAPTERS for rule in chapter.rules)
CLAIMS = Chapter("The rules", rules_claims.RULES)
"""What an answer may conclude. It has a page of its own."""
