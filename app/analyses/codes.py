"""The words of an answer: why a patient was left out, what was flagged, what to be careful about.

Each code stands in answers as it is written here; the sentences are what the documentation says of it.
"""

EXCLUSIONS: dict[str, str] = {
    "not_treated": "No infusion of the protocol's products was started.",
    "no_value_after_baseline": "No usable value after day 0.",
    "no_baseline": "No usable value on or before day 0.",
    "no_value_in_window": "Values after day 0, but none in the window that the definition looks at.",
    "normal_at_baseline": "CK was normal before treatment: it cannot become normal.",
    "baseline_normality_unknown": "CK at baseline has no upper limit, or a comparator hides whether it was normal.",
    "normality_unknown": "No CK after day 0 whose normality is known.",
    "never_normal": "CK was never seen normal after treatment.",
    "at_scale_maximum": "The score was at the best end of its scale before treatment: it cannot improve.",
    "zero_baseline": "A relative change from a baseline of 0 is undefined.",
    "zero_value": "A value of 0 has no logarithm.",
}
FLAGS: dict[str, str] = {
    "duplicate_draw": "Values of one day that gave way to another value of that day.",
    "day_0_post_dose": "Values of day 0 taken after the infusion began; they serve no window.",
    "after_death": "Values dated after the day of death; they are not used.",
    "scale_mismatch": "Scores on another scale than the protocol's; they are not used.",
    "utc_day": "Times written with Z while the study declares no time zone: the laboratory's day may be another.",
    "no_upper_limit": "CK values without an upper limit of normal; they cannot be called normal.",
    "borrowed_upper_limit": "CK values judged by the patient's nearest limit at the same laboratory.",
    "baseline_too_old": "Baselines older than the protocol likes; they are used.",
    "near_ceiling": "Patients whose baseline lies so near the best end that the rule can hardly be met.",
    "comparator": "Values known only as a bound; in logarithms `<x` counts as x/2 and `>x` as x.",
    "undetermined": "CK values whose normality is unknown, by a comparator or for want of an upper limit.",
    "other_product": "Infusions of products that the protocol does not name; they are no treatment.",
    "course_number_disagrees": "Patients with a course number that the gap rule contradicts; the gap rule decides.",
    "second_course": "Patients with a second course, an intercurrent event that `treatment_policy` ignores.",
    "ended_before_treatment": "Patients said to have left the study before their first infusion.",
    "onset_unknown": "Adverse events without onset; they count.",
    "relation_unknown": "Adverse events of unknown relation; they count as the protocol says.",
    "seriousness_unknown": "Adverse events not said to be serious or not.",
    "before_treatment": "Adverse events before the first infusion; they do not count.",
    "dose_not_convertible": "Prednisolone doses in a unit that is no daily dose; they are not used.",
}
CAVEATS: dict[str, str] = {
    "uncontrolled_pre_post": "A change in one treated group is not the effect of the treatment: time, other "
    "treatment and regression to the mean are in it.",
    "selection_on_baseline": "Patients enrolled because of their values before treatment fall back towards their "
    "mean; the before/after difference counts the error of the week-0 value twice.",
    "definitions_are_ours": "The definitions are those of the named protocol, not those of any published trial.",
    "best_of_many": "The best of several values is biased upwards; compare the same rule on the last value.",
    "conditioned_on_normalising": "Only patients whose CK became normal are in the risk set: a group formed after "
    "treatment.",
    "seen_at_visits_only": "CK is known only at draws: a spell may have ended up to one visit gap earlier.",
    "spontaneous_reports": "An adverse event that was not posted does not exist here.",
}
