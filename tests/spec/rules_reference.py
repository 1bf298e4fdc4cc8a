"""The figures of the synthetic reference cohort, which were computed in R and in Python."""

from tests.spec.rule import Case, Rounded, Rule

REFERENCE = Rule(
    row="reference cohort",
    name="Reference cohort",
    words="The definitions of `seed-2008` were chosen so that they give these figures on a synthetic cohort of 16 "
    "patients that is part of the service. No such patient exists. The figures were computed independently in R.",
    cases=(
        Case(
            says="response",
            reference=True,
            expect={
                "patients in the safety set": 16,
                "patients in the efficacy set": 15,
                "MMT responders": "14 of 15",
                "ADL responders": "12 of 15",
                "CK responders": "15 of 15",
            },
        ),
        Case(
            says="response by the last value",
            reference=True,
            expect={
                "MMT responders by the last value": "14 of 15",
                "ADL responders by the last value": "12 of 15",
                "CK responders by the last value": "15 of 15",
            },
        ),
        Case(
            says="onset",
            reference=True,
            expect={"onset of CK": 1, "onset of MMT": 2, "onset of ADL": 2},
        ),
        Case(
            says="CK before and after",
            reference=True,
            expect={
                "before/after: patients": 15,
                "before/after: mean": Rounded(-1.4084),
                "before/after: t test p": 9.62486053709e-08,
            },
        ),
        Case(
            says="time with normal CK",
            reference=True,
            expect={
                "time normal: patients": 13,
                "time normal: never normal": 2,
                "time normal: events": 8,
                "time normal: median": 334.5,
            },
        ),
        Case(
            says="adverse reactions",
            reference=True,
            expect={"reactions: patients with reaction": 7, "reactions: safety": 16, "reactions: serious events": 0},
        ),
    ),
)

RULES = (REFERENCE,)
