"""Which adverse events are reactions, and in how many patients."""

from tests.spec.rule import Case, Rule, alike, event, infused

TEN = [infused(0, at="10:00")]

WHEN = Rule(
    row="adverse reaction",
    name="Adverse reaction: when",
    words="An adverse event counts if its onset is on or after the first infusion. Days are compared. On day 0 an "
    "event with a clock time earlier than that of the infusion is before the infusion. An event of unknown onset "
    "counts and is flagged.",
    cases=(
        Case(
            says="an event on the day before the first infusion is not a reaction",
            events=[event(-1)],
            expect={"reactions: patients with reaction": 0, "reactions: events": 0, "flag before_treatment": 1},
        ),
        Case(
            says="an event on the day of the first infusion is a reaction",
            events=[event(0)],
            expect={"reactions: patients with reaction": 1, "reactions: events": 1, "flag before_treatment": 0},
        ),
        Case(
            says="an event a minute before the first infusion is not a reaction",
            infusions=TEN,
            events=[event(0, at="09:59")],
            expect={"reactions: patients with reaction": 0, "flag before_treatment": 1},
        ),
        Case(
            says="an event at the minute of the first infusion is a reaction",
            infusions=TEN,
            events=[event(0, at="10:00")],
            expect={"reactions: patients with reaction": 1, "flag before_treatment": 0},
        ),
        Case(
            says="an event of day 0 without a clock time is a reaction",
            infusions=TEN,
            events=[event(0)],
            expect={"reactions: patients with reaction": 1},
        ),
        Case(
            says="an event of day 0 is a reaction if the infusion has no clock time",
            events=[event(0, at="00:01")],
            expect={"reactions: patients with reaction": 1},
        ),
        Case(
            says="an event of unknown onset counts and is flagged",
            events=[event(None)],
            expect={"reactions: patients with reaction": 1, "flag onset_unknown": 1},
        ),
        Case(
            says="an event of known onset is not flagged",
            events=[event(3)],
            expect={"reactions: patients with reaction": 1, "flag onset_unknown": 0},
        ),
        Case(
            says="an event of a patient who was never treated is not a reaction",
            infusions=[],
            events=[event(3)],
            expect={"reactions: safety": 0, "reactions: events": 0, "reactions: rate": "no_patients"},
        ),
        Case(
            says="an event that was entered in error is not counted",
            events=[event(3, status="entered-in-error")],
            expect={"reactions: events": 0},
        ),
    ),
)


def _related(word: str | bool | None, counts: bool, unknown: int = 0) -> Case:
    spoken = {True: "the answer yes", False: "the answer no", None: "no answer"}.get(word, f"the relation {word}")
    return Case(
        says=f"{spoken} {'makes' if counts else 'does not make'} an event a reaction",
        events=[event(3, related=word)],
        expect={
            "reactions: patients with event": 1,
            "reactions: patients with reaction": int(counts),
            "flag relation_unknown": unknown,
        },
    )


RELATED = Rule(
    row="adverse reaction",
    name="Adverse reaction: related",
    words="An event is a reaction if it is related to the infusion: definitely, probably or possibly, or simply "
    '"yes". An unknown relation counts as related and is flagged. A protocol may choose which relations '
    "count.",
    cases=(
        _related("definite", True),
        _related("probable", True),
        _related("possible", True),
        _related("unlikely", False),
        _related("unrelated", False),
        _related(True, True),
        _related(False, False),
        _related("unknown", True, unknown=1),
        _related(None, True, unknown=1),
        Case(
            says="a protocol that asks for a definite relation does not count a possible one",
            changes={"adverse_reactions": {"related": ["definite"]}},
            events=[event(3, related="possible")],
            expect={"reactions: patients with event": 1, "reactions: patients with reaction": 0},
        ),
        Case(
            says="a relation that is not in the table is refused",
            events=[event(3, related="perhaps")],
            refused="unknown_value",
        ),
    ),
)

COUNTED = Rule(
    row="adverse reaction",
    name="Adverse reactions counted",
    words="The rate is the number of patients with at least one reaction divided by the safety set, with the interval "
    "of Clopper and Pearson. The answer also has all events, serious events, the terms, and reactions per infusion, "
    "per course and per year of follow-up from the first infusion.",
    cases=(
        Case(
            says="7 of 16",
            groups=[alike(7, "with a related event", events=[event(3)]), alike(9, "without an event")],
            expect={
                "reactions: safety": 16,
                "reactions: patients with reaction": 7,
                "reactions: rate": 0.4375,
                "reactions: interval": (0.1975341405327, 0.7012231009168),
            },
        ),
        Case(
            says="a patient with two reactions is one patient with two events",
            events=[event(3), event(4, term="fever")],
            expect={"reactions: patients with reaction": 1, "reactions: related events": 2, "reactions: events": 2},
        ),
        Case(
            says="an unrelated event is an event but not a reaction",
            events=[event(3, related="unrelated")],
            expect={
                "reactions: patients with event": 1,
                "reactions: events": 1,
                "reactions: patients with reaction": 0,
                "reactions: related events": 0,
            },
        ),
        Case(
            says="a serious event counts as serious whether related or not",
            events=[event(3, related="unrelated", serious=True)],
            expect={
                "reactions: patients with serious event": 1,
                "reactions: serious events": 1,
                "reactions: serious reactions": 0,
            },
        ),
        Case(
            says="a serious related event is a serious reaction",
            events=[event(3, serious=True)],
            expect={"reactions: serious events": 1, "reactions: serious reactions": 1, "flag seriousness_unknown": 0},
        ),
        Case(
            says="an event without a statement of seriousness is not counted as serious, and is flagged",
            events=[event(3, serious=None)],
            expect={"reactions: serious events": 0, "flag seriousness_unknown": 1},
        ),
        Case(
            says="terms that differ in capitals only are one term",
            groups=[
                alike(
                    1, "with `Headache` and `headache`", events=[event(3, term="Headache"), event(4, term="headache")]
                ),
                alike(1, "with `HEADACHE` and `fever`", events=[event(3, term="HEADACHE"), event(4, term="fever")]),
            ],
            expect={"reactions: by term": "HEADACHE: 3 in 2; fever: 1 in 1"},
        ),
        Case(
            says="reactions per infusion and per course",
            infusions=[0, 1, 2, 3, 4, 60],
            events=[event(3), event(60), event(61)],
            expect={"reactions: per infusion": 0.5, "reactions: per course": 1.5},
        ),
        Case(
            says="follow-up runs from the first infusion to the end of participation, both days included",
            ck=[(0, 1000), (7, 500)],
            ended=(364, "completed"),
            expect={"reactions: days of follow-up": 365},
        ),
        Case(
            says="an event after the end of participation counts, and the time up to it counts, too",
            ck=[(0, 1000), (7, 500)],
            ended=(5, "completed"),
            events=[event(399)],
            expect={
                "reactions: days of follow-up": 400,
                "flag ended_before_treatment of adverse_events": 0,
            },
        ),
        Case(
            says="nobody is at risk after death: later facts do not prolong the time, a later event is flagged",
            ck=[(0, 1000), (7, 500), (500, 400)],
            ended=(99, "died"),
            events=[event(120)],
            expect={
                "reactions: days of follow-up": 100,
                "flag event_after_death of adverse_events": 1,
            },
        ),
        Case(
            says="an event on the day of death is not after it",
            ck=[(0, 1000), (7, 500)],
            ended=(99, "died"),
            events=[event(99)],
            expect={
                "reactions: days of follow-up": 100,
                "flag event_after_death of adverse_events": 0,
            },
        ),
        Case(
            says="an end before the first infusion is flagged and does not end the follow-up",
            ck=[(0, 1000), (7, 500)],
            ended=(-10, "withdrawn"),
            expect={
                "reactions: days of follow-up": 8,
                "flag ended_before_treatment of adverse_events": 1,
            },
        ),
        Case(
            says="while participation continues, follow-up runs to the last recorded fact",
            ck=[(0, 1000), (7, 500)],
            expect={"reactions: days of follow-up": 8},
        ),
    ),
)

RULES = (WHEN, RELATED, COUNTED)
