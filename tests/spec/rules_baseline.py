"""Day 0, the infusions of the treatment and their courses, and the baseline."""

from tests.spec.rule import Case, Rule, event, infused, on

DAY = Rule(
    row="day",
    name="Day",
    words="A day is the calendar date minus the date of the patient's first infusion of the index course; the day of "
    "that infusion is day 0. The date is the date as written or, if the study declares a time zone, the calendar date "
    "in that time zone. Hours are not used: days are counted on the calendar, never as multiples of 24 hours.",
    cases=(
        Case(
            says="the calendar day after the first infusion is day 1",
            ck=[(0, 1000), (1, 150)],
            expect={"first normal CK on day": 1},
        ),
        Case(
            says="the day of the first infusion is day 0, and its value is the baseline, not a result of treatment",
            ck=[(-1, 1000), (0, 150)],
            expect={"CK at baseline": 150, "first normal CK on day": "no_value_after_baseline"},
        ),
        Case(
            says="three quarters of an hour across midnight are one day",
            infusions=[infused(0, at="23:30")],
            ck=[(0, 1000), on(1, 150, at="00:15")],
            expect={"first normal CK on day": 1},
        ),
        Case(
            says="almost 48 hours within two calendar days are also one day",
            infusions=[infused(0, at="00:15")],
            ck=[(-1, 1000), on(1, 150, at="23:45")],
            expect={"first normal CK on day": 1},
        ),
        Case(
            says="days count from the first infusion of a course and not from its last",
            infusions=[0, 1, 2, 3, 4],
            ck=[(0, 1000), (7, 150)],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="29 February is a day like any other",
            first_infusion="2004-02-28",
            ck=[(0, 1000), on("2004-03-01", 150)],
            expect={"first normal CK on day": 2},
        ),
        Case(
            says="in a year without 29 February the first of March follows the 28th",
            first_infusion="2005-02-28",
            ck=[(0, 1000), on("2005-03-01", 150)],
            expect={"first normal CK on day": 1},
        ),
        Case(
            says="a week with the start of summer time in it has seven days although it is one hour short",
            first_infusion="2005-03-26",
            time_zone="Europe/Berlin",
            infusions=[infused(0, at="00:15+01:00")],
            ck=[(-1, 1000), on("2005-04-02", 150, at="00:15+02:00")],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="a week with the end of summer time in it has seven days although it is one hour longer",
            first_infusion="2005-10-29",
            time_zone="Europe/Berlin",
            infusions=[infused(0, at="00:15+02:00")],
            ck=[(-1, 1000), on("2005-11-05", 150, at="23:45+01:00")],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="without a study time zone the date counts as written, also if the date in UTC was another one",
            ck=[(0, 1000), on("2005-04-18", 150, at="08:00+09:00")],
            expect={"first normal CK on day": 7, "flag utc_day of CK": 0},
        ),
        Case(
            says="a time in UTC does not show the local day: without a study time zone it counts as written and is "
            "flagged",
            ck=[(0, 1000), on("2005-04-17", 150, at="23:00Z")],
            expect={"first normal CK on day": 6, "flag utc_day of CK": 1},
        ),
        Case(
            says="with a study time zone a time in UTC counts on the study's calendar and is not flagged",
            time_zone="Asia/Tokyo",
            ck=[(0, 1000), on("2005-04-17", 150, at="23:00Z")],
            expect={"first normal CK on day": 7, "flag utc_day of CK": 0},
        ),
        Case(
            says="a time with a foreign offset counts as written without a study time zone",
            ck=[(0, 1000), on("2005-04-17", 150, at="10:00-05:00")],
            expect={"first normal CK on day": 6, "flag utc_day of CK": 0},
        ),
        Case(
            says="with a study time zone a time with a foreign offset is moved to the study's calendar",
            time_zone="Asia/Tokyo",
            ck=[(0, 1000), on("2005-04-17", 150, at="10:00-05:00")],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="a date without a time is not moved by a study time zone",
            time_zone="America/New_York",
            ck=[(0, 1000), (7, 150)],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="a study time zone decides the date of the first infusion too",
            time_zone="Asia/Tokyo",
            infusions=[infused("2005-04-10", at="23:30Z")],
            ck=[(0, 1000), (7, 150)],
            expect={"first normal CK on day": 7, "flag utc_day of infusions": 0},
        ),
        Case(
            says="a first infusion written in UTC without a study time zone moves day 0 and is flagged",
            infusions=[infused("2005-04-10", at="23:30Z")],
            ck=[(-1, 1000), (7, 150)],
            expect={"first normal CK on day": 8, "flag utc_day of infusions": 1},
        ),
        Case(
            says="the onset of an adverse event written in UTC is flagged, too",
            events=[event("2005-04-11", at="23:00Z")],
            expect={"flag utc_day of adverse_events": 1},
        ),
        Case(
            says="a clock time without its offset is refused, because the day would have to be guessed",
            ck=[on(7, 150, at="08:00 without offset")],
            refused="no_offset",
        ),
    ),
)

TREATMENT = Rule(
    row="treatment",
    name="Treatment",
    words="The protocol names the products whose infusions are the treatment. Infusions of other products do not "
    "treat a patient and do not set day 0; they are counted. Upper and lower case make no difference.",
    cases=(
        Case(says="an infusion of a named product is treatment", expect={"in the safety set": True}),
        Case(
            says="an infusion of a product that the protocol does not name is not treatment",
            infusions=[infused(0, product="albumin")],
            ck=[(0, 1000), (7, 150)],
            expect={
                "in the safety set": False,
                "CK responder": "not_treated",
                "flag other_product of infusions": 1,
            },
        ),
        Case(
            says="upper and lower case do not make another product",
            infusions=[infused(0, product="IVIg"), infused(1, product="ivig")],
            expect={"in the safety set": True, "flag other_product of infusions": 0},
        ),
        Case(
            says="a protocol may name another product",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[infused(0, product="SCIG")],
            expect={"in the safety set": True},
        ),
        Case(
            says="an earlier infusion of an unnamed product does not set day 0",
            infusions=[infused(-10, product="albumin"), 0],
            ck=[(0, 1000), (7, 150)],
            expect={"first normal CK on day": 7},
        ),
        Case(
            says="an earlier infusion of a named product sets day 0",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[infused(-10, product="SCIG"), 0],
            ck=[(-10, 1000), (7, 150)],
            expect={"first normal CK on day": 17},
        ),
    ),
)

COURSE = Rule(
    row="course",
    name="Course",
    words="Infusions of the same product with at most 14 days from each to the next are one course; the first course "
    "is the index course. A second course, the first that begins after day 0, is an intercurrent event and is "
    "counted. A course of another product that begins on day 0 is part of the treatment. A course number that was "
    "sent with an infusion never changes this rule: if it disagrees with the gap, it is flagged.",
    cases=(
        Case(
            says="infusions 14 days apart are one course",
            infusions=[0, 14],
            expect={"courses": 1, "flag second_course": 0},
        ),
        Case(
            says="infusions 15 days apart are two courses",
            infusions=[0, 15],
            expect={"courses": 2, "flag second_course": 1},
        ),
        Case(
            says="the gap is measured from one infusion to the next, not from the first",
            infusions=[0, 14, 28],
            expect={"courses": 1},
        ),
        Case(
            says="a protocol may choose another gap",
            changes={"treatment": {"course_gap_days": 7}},
            infusions=[0, 8],
            expect={"courses": 2},
        ),
        Case(
            says="an infusion of another product begins another course",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(5, product="SCIG")],
            expect={"courses": 2, "flag second_course": 1},
        ),
        Case(
            says="a course of another product that begins on day 0 is part of the treatment and not a second course",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG"), infused(14, product="SCIG")],
            expect={"courses": 2, "flag second_course": 0},
        ),
        Case(
            says="and a second course after it is still counted",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[0, infused(0, product="SCIG"), 15],
            expect={"courses": 3, "flag second_course": 1},
        ),
        Case(
            says="day 0 belongs to the first course, not to a later one",
            infusions=[0, 100],
            ck=[(0, 1000), (107, 150)],
            expect={"first normal CK on day": 107},
        ),
        Case(
            says="course numbers that agree with the gap are not flagged",
            infusions=[infused(0, course=1), infused(15, course=2)],
            expect={"courses": 2, "flag course_number_disagrees": 0},
        ),
        Case(
            says="one number for infusions 15 days apart disagrees, and the gap decides",
            infusions=[infused(0, course=1), infused(15, course=1)],
            expect={"courses": 2, "flag course_number_disagrees": 1},
        ),
        Case(
            says="two numbers for infusions 14 days apart disagree, and the gap decides",
            infusions=[infused(0, course=1), infused(14, course=2)],
            expect={"courses": 1, "flag course_number_disagrees": 1},
        ),
        Case(
            says="courses are numbered within a product",
            changes={"treatment": {"products": ["IVIG", "SCIG"]}},
            infusions=[infused(0, course=1), infused(100, product="SCIG", course=1)],
            expect={"courses": 2, "flag course_number_disagrees": 0},
        ),
        Case(
            says="infusions without course numbers are not flagged",
            infusions=[0, 15],
            expect={"courses": 2, "flag course_number_disagrees": 0},
        ),
    ),
)

BASELINE = Rule(
    row="baseline",
    name="Baseline",
    words="The baseline is the last value on or before day 0. A baseline that is older than 42 days is used and "
    "flagged. A value of day 0 counts as taken before the infusion unless both have a clock time and the value is "
    "later. A value of day 0 that was taken after the infusion is used for no visit and is counted.",
    cases=(
        Case(
            says="the last value before treatment is the baseline",
            ck=[(-14, 1200), (-7, 900)],
            expect={"CK at baseline": 900},
        ),
        Case(
            says="a value of day 0 is still before treatment",
            ck=[(-7, 900), (0, 1000)],
            expect={"CK at baseline": 1000},
        ),
        Case(
            says="a value of day 1 is not before treatment", ck=[(-7, 900), (1, 1000)], expect={"CK at baseline": 900}
        ),
        Case(
            says="without a value on or before day 0 there is no baseline",
            ck=[(1, 1000), (7, 150)],
            expect={"CK at baseline": None, "CK responder": "no_baseline"},
        ),
        Case(
            says="a baseline 42 days old is not flagged",
            ck=[(-42, 1000), (7, 700)],
            expect={"CK at baseline": 1000, "flag baseline_too_old of CK": 0},
        ),
        Case(
            says="a baseline 43 days old is flagged and used",
            ck=[(-43, 1000), (7, 700)],
            expect={"CK at baseline": 1000, "flag baseline_too_old of CK": 1, "CK responder": True},
        ),
        Case(
            says="a protocol may flag earlier",
            changes={"baseline": {"flag_older_than_days": 28}},
            ck=[(-29, 1000), (7, 700)],
            expect={"flag baseline_too_old of CK": 1},
        ),
        Case(
            says="a protocol may accept no baseline older than 90 days; one of 90 days is accepted",
            changes={"baseline": {"exclude_older_than_days": 90}},
            ck=[(-90, 1000), (7, 700)],
            expect={"CK at baseline": 1000, "flag baseline_too_old of CK": 1, "CK responder": True},
        ),
        Case(
            says="one of 91 days is not",
            changes={"baseline": {"exclude_older_than_days": 90}},
            ck=[(-91, 1000), (7, 700)],
            expect={"CK at baseline": None, "flag baseline_too_old of CK": 0, "CK responder": "no_baseline"},
        ),
        Case(
            says="a value too old to be the baseline may serve a week before treatment",
            changes={"baseline": {"exclude_older_than_days": 20}},
            ck=[(-28, 1000), (7, 700)],
            expect={"CK at baseline": None, "CK at week -4": 1000},
        ),
        Case(
            says="a draw of day 0 before the infusion is the baseline",
            infusions=[infused(0, at="10:00")],
            ck=[(-7, 900), on(0, 1000, at="09:59")],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 0},
        ),
        Case(
            says="a draw at the minute of the infusion counts as before it",
            infusions=[infused(0, at="10:00")],
            ck=[(-7, 900), on(0, 1000, at="10:00")],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 0},
        ),
        Case(
            says="a draw of day 0 after the infusion began is not a baseline and is counted",
            infusions=[infused(0, at="10:00")],
            ck=[(-7, 900), on(0, 1000, at="10:01")],
            expect={"CK at baseline": 900, "flag day_0_post_dose of CK": 1},
        ),
        Case(
            says="clock times with different offsets are compared as instants, not as digits",
            infusions=[infused(0, at="10:00+09:00")],
            ck=[(-7, 900), on(0, 1000, at="09:30+08:00")],
            expect={"CK at baseline": 900, "flag day_0_post_dose of CK": 1},
        ),
        Case(
            says="a draw with a date only counts as before an infusion with a clock time",
            infusions=[infused(0, at="00:01")],
            ck=[(-7, 900), (0, 1000)],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 0},
        ),
        Case(
            says="a draw with a clock time counts as before an infusion with a date only",
            ck=[(-7, 900), on(0, 1000, at="23:59")],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 0},
        ),
        Case(
            says="dates alone count as before the infusion",
            ck=[(-7, 900), (0, 1000)],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 0},
        ),
        Case(
            says="a value of day 0 after the infusion is no value after baseline either",
            infusions=[infused(0, at="10:00")],
            ck=[(-7, 1000), on(0, 100, at="15:00")],
            expect={"in the efficacy set": False, "CK responder": "no_value_after_baseline"},
        ),
        Case(
            says="of two draws of day 0, the draw after the infusion is excluded first; then the later of the rest is "
            "the baseline",
            infusions=[infused(0, at="10:00")],
            ck=[on(0, 1000, at="08:00"), on(0, 500, at="15:00")],
            expect={"CK at baseline": 1000, "flag day_0_post_dose of CK": 1, "flag duplicate_draw of CK": 0},
        ),
        Case(
            says="of two draws of day 0 before the infusion the later one is the baseline",
            infusions=[infused(0, at="10:00")],
            ck=[on(0, 1000, at="08:00"), on(0, 900, at="09:00")],
            expect={"CK at baseline": 900, "flag day_0_post_dose of CK": 0, "flag duplicate_draw of CK": 1},
        ),
        Case(
            says="the only value before treatment is the baseline and is not used for week -4",
            ck=[(-28, 1000), (7, 700)],
            expect={"CK at baseline": 1000, "CK at week -4": None},
        ),
        Case(
            says="with a later baseline the same value is used for week -4",
            ck=[(-28, 1000), (0, 900), (7, 700)],
            expect={"CK at baseline": 900, "CK at week -4": 1000},
        ),
        Case(
            says="each measure has its own baseline",
            ck=[(-3, 1000), (7, 700)],
            mmt=[(-10, 60)],
            expect={"CK at baseline": 1000, "MMT at baseline": 60},
        ),
    ),
)

RULES = (DAY, TREATMENT, COURSE, BASELINE)
