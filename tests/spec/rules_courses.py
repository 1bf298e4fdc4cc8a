"""Courses that are judged separately, and adverse events in risk windows after infusions."""

from tests.spec.rule import Case, Rule, alike, event, infused, on

SECOND_AT_TEN = [0, infused(30, at="10:00")]
DAILY = [0, 1, 2, 3, 4]

ANCHORS = Rule(
    row="repeated courses",
    name="A baseline and a response for each course",
    words="Each course is judged separately: its day 0 is its own first infusion, its baseline the last value on or "
    "before that day, also if that value is from before the previous course. The answer says whether the baseline was "
    "taken after the first infusion of the previous course.",
    cases=(
        Case(
            says="a value between two courses is the baseline of the second",
            infusions=[0, 60],
            ck=[(0, 1000), (28, 300), (58, 900), (74, 600)],
            expect={
                "courses given": 2,
                "course 1: CK baseline": 1000.0,
                "course 1: baseline after the previous course": None,
                "course 2: CK baseline": 900.0,
                "course 2: day of the CK baseline": -2,
                "course 2: baseline after the previous course": True,
                "course 2: CK responder": True,
            },
        ),
        Case(
            says="without such a value the baseline of the second course is the value before the first course",
            infusions=[0, 30],
            ck=[(0, 1000), (44, 600)],
            expect={
                "course 2: CK baseline": 1000.0,
                "course 2: day of the CK baseline": -30,
                "course 2: baseline after the previous course": False,
                "course 2: CK responder": True,
            },
        ),
        Case(
            says="infusions 14 days apart are one course",
            infusions=[0, 14],
            ck=[(0, 1000), (28, 600)],
            expect={"courses given": 1, "course 1: infusions": 2, "course 1: CK responder": True},
        ),
        Case(
            says="infusions 15 days apart are two",
            infusions=[0, 15],
            ck=[(0, 1000), (28, 600)],
            expect={"courses given": 2, "course 1: infusions": 1, "course 1: CK responder": "no_value_after_baseline"},
        ),
        Case(
            says="a value of day 0 of a later course that was taken after its infusion began is not a baseline and is "
            "counted",
            infusions=SECOND_AT_TEN,
            ck=[(0, 1000), on(30, 500, at="10:01"), (44, 600)],
            expect={"course 2: CK baseline": 1000.0, "values of day 0 of a course after its infusion began": 1},
        ),
        Case(
            says="a value taken before the infusion is the baseline",
            infusions=SECOND_AT_TEN,
            ck=[(0, 1000), on(30, 500, at="09:59"), (44, 600)],
            expect={"course 2: CK baseline": 500.0, "values of day 0 of a course after its infusion began": 0},
        ),
    ),
)

TRUNCATED = Rule(
    row="repeated courses",
    name="A course ends where the next begins",
    words="A value after the first infusion of the next course is used for that course and not for the one before. A "
    "value of the day of that infusion counts as before it, unless both have a clock time and the value is later.",
    cases=(
        Case(
            says="a value on the day of the next course is used for the course before",
            infusions=[0, 30],
            ck=[(0, 1000), (30, 600)],
            expect={"course 1: CK responder": True, "course 2: CK baseline": 600.0},
        ),
        Case(
            says="a value on the day after it is used for the next course only",
            infusions=[0, 30],
            ck=[(0, 1000), (31, 600)],
            expect={"course 1: CK responder": "no_value_after_baseline", "course 2: CK responder": True},
        ),
        Case(
            says="a value an hour before the next course is used for the course before",
            infusions=SECOND_AT_TEN,
            ck=[(0, 1000), on(30, 600, at="09:00")],
            expect={"course 1: CK responder": True},
        ),
        Case(
            says="a value an hour after the next course began is not used for the course before",
            infusions=SECOND_AT_TEN,
            ck=[(0, 1000), on(30, 600, at="11:00")],
            expect={"course 1: CK responder": "no_value_after_baseline"},
        ),
    ),
)

CLUSTERED = Rule(
    row="repeated courses",
    name="Courses of one patient are not independent patients",
    words="The rate over all courses is responses divided by courses. The exact interval treats each course as if it "
    "were another patient. The answer also has the interval of Korn and Graubard, which allows for several courses of "
    "one patient: it is exact for the effective number of courses, which is never more than the number of courses. If "
    "none or all responded, each patient counts as one.",
    cases=(
        Case(
            says="two patients with two courses each count as two",
            groups=[alike(2, "who respond to both of two courses", infusions=[0, 60],
                          ck=[(0, 1000), (28, 500), (60, 1000), (88, 500)])],
            expect={"CK responses over all courses": "4 of 4", "effective number of courses": 2.0},
        ),
        Case(
            says="patients who always respond and patients who never respond count as one course each, or less",
            groups=[
                alike(2, "who respond to both of two courses", infusions=[0, 60],
                      ck=[(0, 1000), (28, 500), (60, 1000), (88, 500)]),
                alike(2, "who respond to neither of two courses", infusions=[0, 60],
                      ck=[(0, 1000), (28, 1000), (60, 1000), (88, 1000)]),
            ],
            expect={
                "CK responses over all courses": "4 of 8",
                "CK responses in course 2": "2 of 4",
                # 8 / 7 x 0.25 / (4/3 x 4 / 8^2) = 24/7, times the square of t(7) / t(3) = 2.364624252 / 3.182446305
                "effective number of courses": 1.892846127,
            },
        ),
        Case(
            says="with one patient it is unknown how patients differ",
            infusions=[0, 60],
            ck=[(0, 1000), (28, 500), (60, 1000), (88, 1000)],
            expect={"CK responses over all courses": "1 of 2", "effective number of courses": "one_patient"},
        ),
    ),
)  # fmt: skip

GRAMS = Rule(
    row="dose in grams",
    name="Reactions per gram",
    words="Grams are as written, or the dose per kg times the body weight. A patient with an infusion of unknown "
    "dose, or with a dose per kg and no weight, is left out of the rate per gram with all events, and is counted.",
    cases=(
        Case(
            says="a dose per kg needs the body weight",
            infusions=[infused(0, dose=0.4, unit="g/kg"), infused(1, dose=400.0, unit="mg/kg")],
            weight=50,
            events=[event(1)],
            expect={"safety: grams": 40.0, "safety: events per gram": 1 / 40, "left out per gram": None,
                    "course 1: grams per kg": 0.8},
        ),
        Case(
            says="without the weight the grams are unknown",
            infusions=[infused(0, dose=0.4, unit="g/kg")],
            events=[event(1)],
            expect={"safety: grams": 0.0, "safety: events per gram": "no_patients", "left out per gram": "dose_unknown",
                    "course 1: grams per kg": 0.4},
        ),
        Case(
            says="a dose in grams does not need it",
            infusions=[infused(0, dose=20, unit="g"), infused(1, dose=5000, unit="mg")],
            events=[event(1)],
            expect={"safety: grams": 25.0, "safety: events per gram": 1 / 25, "left out per gram": None,
                    "course 1: grams per kg": None},
        ),
        Case(
            says="one infusion of unknown dose is enough to leave a patient out",
            infusions=[infused(0, dose=20, unit="g"), infused(1)],
            events=[event(1)],
            expect={"safety: grams": 0.0, "safety: events per infusion": 0.5, "left out per gram": "dose_unknown"},
        ),
    ),
)  # fmt: skip

WINDOWS = Rule(
    row="risk windows",
    name="Risk windows after an infusion",
    words="The day of an infusion is day 0 of its windows, which are days 0-1 and 2-14 unless other windows are "
    "declared. Each day of follow-up counts once: near several infusions it belongs to the window with the smaller "
    "distance; outside all windows it belongs to the time of comparison. On the day of an infusion an event with an "
    "earlier clock time is before the infusion. An event without onset is in no window.",
    cases=(
        *(
            Case(
                says=f"an event {day} {'day' if day == 1 else 'days'} after an infusion is {where}",
                events=[event(day)],
                ck=[(29, 400)],
                expect={"risk window of the event": window, "days in risk windows": "2, 13, 15"},
            )
            for day, where, window in (
                (0, "within days 0 and 1", "0-1"),
                (1, "within days 0 and 1", "0-1"),
                (2, "within days 2 to 14", "2-14"),
                (14, "within days 2 to 14", "2-14"),
                (15, "outside", "outside"),
            )
        ),
        Case(
            says="an event of unknown onset is in no window",
            events=[event(None)],
            ck=[(29, 400)],
            expect={"risk window of the event": None, "safety: onset unknown": 1},
        ),
        Case(
            says="a day after the last of five daily infusions, five days after the first",
            infusions=DAILY,
            events=[event(5)],
            ck=[(29, 400)],
            expect={"risk window of the event": "0-1", "days in risk windows": "6, 13, 11"},
        ),
        Case(
            says="two days after the last of them",
            infusions=DAILY,
            events=[event(6)],
            ck=[(29, 400)],
            expect={"risk window of the event": "2-14", "days in risk windows": "6, 13, 11"},
        ),
        Case(
            says="an event an hour before the infusion of the same day is fifteen days after the previous infusion",
            infusions=[0, infused(15, at="10:00")],
            events=[event(15, at="09:00")],
            expect={"risk window of the event": "outside"},
        ),
        Case(
            says="an event an hour after the infusion is in its window",
            infusions=[0, infused(15, at="10:00")],
            events=[event(15, at="11:00")],
            expect={"risk window of the event": "0-1"},
        ),
        Case(
            says="follow-up ends within a window",
            ck=[(5, 400)],
            expect={"days in risk windows": "2, 4, 0"},
        ),
        Case(
            says="windows may be declared, with time between them",
            events=[event(2)],
            ck=[(29, 400)],
            changes={"adverse_reactions": {"risk_windows": [[0, 0], [3, 5]]}},
            expect={"risk window of the event": "outside", "days in risk windows": "1, 3, 26"},
        ),
        Case(
            says="windows that overlap are refused",
            changes={"adverse_reactions": {"risk_windows": [[0, 2], [2, 14]]}},
            refused="contradiction",
        ),
        Case(
            says="a window that ends before it begins is refused",
            changes={"adverse_reactions": {"risk_windows": [[3, 2]]}},
            refused="contradiction",
        ),
    ),
)

SEVERITY = Rule(
    row="severity",
    name="Each patient at the worst severity",
    words="By severity, and by term and severity, a patient counts once, with the worst known severity: fatal, "
    "life-threatening, severe, moderate, mild, unknown. All events are counted.",
    cases=(
        Case(
            says="mild and severe is severe",
            events=[event(1, severity="mild"), event(2, severity="severe")],
            expect={"severity of the patient": "severe", "safety: events": 2},
        ),
        Case(
            says="mild and unknown is mild",
            events=[event(1, severity="mild"), event(2)],
            expect={"severity of the patient": "mild", "safety: events": 2},
        ),
        Case(
            says="unknown alone is unknown",
            events=[event(1)],
            expect={"severity of the patient": None, "safety: events": 1},
        ),
    ),
)

EHR = {"source": "EHR", "dose": 30, "unit": "g"}
BY_DATE = infused(0, dose=30, unit="g")
HEADACHES = [event(1), event(1, at="08:00", source="EHR")]

SAME = Rule(
    row="same fact",
    name="The same infusion or event from two sources",
    words="Two infusions or events that may be one both count until a person decides that they are the same. Then one "
    "counts, with its own fields alone: an instant before a date, a known dose, severity, seriousness or relation "
    "before an absent one; of equal ones the one that its source issued last. The decision holds while the times "
    "agree: the same minute, or the same day if one is a date. Two infusions are proven to be one by the same "
    "instant, which is no midnight, product and dose; two events by the same instant, term, severity, seriousness "
    "and relation. Two numbers of one source are always two. Two periods of a glucocorticoid from two sources may be "
    "one if they overlap by more than the day on which one ends and the other begins. The same drug, daily dose, first "
    "and last day prove it. Facts of merged records are compared in the same way. The caveats `undecided_infusions`, "
    "`undecided_glucocorticoids` and `undecided_adverse_events` count what waits for a decision in treated patients, "
    "where it can be in a figure: infusions of the treatment, and what was not over before day 0.",
    cases=(
        Case(
            says="a date and a date-time both count while nobody has decided",
            infusions=[BY_DATE, infused(0, at="10:00", **EHR)],
            expect={
                "courses given": 1,
                "course 1: infusions": 2,
                "safety: grams": 60.0,
                "caveat undecided_infusions: applies": True,
                "caveat undecided_infusions: count": "1 of 1",
                "caveat undecided_infusions: pairs": 1,
            },
        ),
        Case(
            says="decided to be the same, they count once",
            infusions=[BY_DATE, infused(0, at="10:00", **EHR)],
            decided="same",
            expect={
                "courses given": 1,
                "course 1: infusions": 1,
                "safety: grams": 30.0,
                "caveat undecided_infusions: applies": False,
                "caveat undecided_infusions: pairs": 0,
            },
        ),
        Case(
            says="the infusion with the instant counts, without the dose of the other",
            infusions=[BY_DATE, infused(0, at="10:00", source="EHR")],
            decided="same",
            events=[event(1)],
            expect={"course 1: infusions": 1, "safety: grams": 0.0, "left out per gram": "dose_unknown"},
        ),
        Case(
            says="decided to be different, both count",
            infusions=[BY_DATE, infused(0, at="10:00", **EHR)],
            decided="different",
            expect={"course 1: infusions": 2, "safety: grams": 60.0, "caveat undecided_infusions: applies": False},
        ),
        Case(
            says="infusions of a product that is not the treatment are in no figure",
            infusions=[0, infused(0, at="10:00", product="albumin", source="EHR"), infused(0, product="albumin")],
            expect={"course 1: infusions": 1, "caveat undecided_infusions: applies": False},
        ),
        Case(
            says="infusions of two days both count, whatever was decided",
            infusions=[BY_DATE, infused(1, at="10:00", **EHR)],
            decided="same",
            expect={"course 1: infusions": 2},
        ),
        Case(
            says="two instants of one day both count, whatever was decided",
            infusions=[infused(0, at="10:00", dose=30, unit="g"), infused(0, at="14:00", **EHR)],
            decided="same",
            expect={"course 1: infusions": 2},
        ),
        Case(
            says="the content proves it while it is the same",
            infusions=[infused(0, at="10:00", dose=30_000, unit="mg"), infused(0, at="10:00", **EHR)],
            decided="proven",
            expect={"course 1: infusions": 1, "safety: grams": 30.0},
        ),
        Case(
            says="another dose ends the proof",
            infusions=[infused(0, at="10:00", dose=20, unit="g"), infused(0, at="10:00", **EHR)],
            decided="proven",
            expect={"course 1: infusions": 2, "safety: grams": 50.0},
        ),
        Case(
            says="midnight proves nothing, because a date is often written so",
            infusions=[infused(0, at="00:00", dose=30, unit="g"), infused(0, at="00:00", **EHR)],
            decided="proven",
            expect={"course 1: infusions": 2},
        ),
        Case(
            says="two numbers of one source are two infusions",
            infusions=[infused(0, at="10:00", **EHR), infused(0, at="10:00", **EHR)],
            decided="same",
            expect={"course 1: infusions": 2, "safety: grams": 60.0},
        ),
        Case(
            says="two events both count while nobody has decided",
            events=HEADACHES,
            expect={"reactions: events": 2, "safety: events": 2, "caveat undecided_adverse_events: count": "1 of 1"},
        ),
        Case(
            says="two events that are the same count once",
            events=HEADACHES,
            decided="same",
            expect={"reactions: events": 1, "safety: events": 1, "caveat undecided_adverse_events: count": "0 of 1"},
        ),
    ),
)

RULES = (ANCHORS, TRUNCATED, CLUSTERED, GRAMS, WINDOWS, SEVERITY, SAME)
