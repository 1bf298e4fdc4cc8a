"""The codes of the reasons for exclusion and of the flags, each with its sentence.

Answers list reasons and flags in the order of this file.
"""

from enum import StrEnum
from typing import Self


class _Code(StrEnum):
    """A code of the answers and the sentence that explains it."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        """Store the sentence with the code."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member


class ExclusionReason(_Code):
    """Why a patient is left out of an estimate."""

    NOT_TREATED = "not_treated", "No infusion of the protocol's products was started."
    NO_VALUE_AFTER_BASELINE = "no_value_after_baseline", "No usable value after day 0."
    NO_BASELINE = "no_baseline", "No usable value on or before day 0 that is recent enough for the protocol."
    NO_VALUE_IN_WINDOW = (
        "no_value_in_window",
        "Values after day 0, but none in the window that the definition looks at.",
    )
    NO_CONFIRMING_VALUE = (
        "no_confirming_value",
        "A value meets the criterion, and there is no second value that could confirm it.",
    )
    NORMAL_AT_BASELINE = "normal_at_baseline", "CK was normal before treatment: it cannot become normal."
    BASELINE_NORMALITY_UNKNOWN = (
        "baseline_normality_unknown",
        "CK at baseline has no upper limit, or a comparator hides whether it was normal.",
    )
    NORMALITY_UNKNOWN = "normality_unknown", "No CK after day 0 whose normality is known."
    NEVER_NORMAL = "never_normal", "CK was never seen normal after treatment."
    NEVER_SUSTAINED = "never_sustained", "No two consecutive CK values after treatment were normal."
    AT_SCALE_MAXIMUM = (
        "at_scale_maximum",
        "The score was at the best end of its scale before treatment: it cannot improve.",
    )
    ZERO_BASELINE = "zero_baseline", "A relative change from a baseline of 0 is undefined."
    ZERO_VALUE = "zero_value", "A value of 0 has no logarithm."
    DOSE_UNKNOWN = (
        "dose_unknown",
        "A dose, or the body weight that it needs, is not known, so that no grams can be added up.",
    )
    NO_STEROID_REPORTED = "no_steroid_reported", "No glucocorticoid was ever reported; that is no dose of 0."
    OVERLAPPING_ORDERS = (
        "overlapping_orders",
        "On a day that counts several orders of one glucocorticoid are valid: one may replace another, or add to it.",
    )
    STEROID_DOSE_UNKNOWN = (
        "steroid_dose_unknown",
        "On a day that counts a glucocorticoid was taken whose daily dose is not known.",
    )
    STEROID_GAP = (
        "steroid_gap",
        "On a day that counts no reported period of a glucocorticoid covers the patient; that is no dose of 0.",
    )
    OBSERVED_TOO_SHORT = "observed_too_short", "The observation ended before the last day that counts."
    LOW_DOSE_AT_START = "low_dose_at_start", "The dose on day 0 was low already: it cannot become low."


class MeasureReason(_Code):
    """Why one core set measure of a patient cannot be judged although it was recorded."""

    BOUND_ONLY = "bound_only", "A value is known as a bound only."
    ENZYME_UNDECIDED = "enzyme_undecided", "Bounds hide which enzyme was the most abnormal."


class FlagCode(_Code):
    """Something that was noticed and counted, and does not leave a patient out by itself."""

    DUPLICATE_DRAW = "duplicate_draw", "Values of one day that gave way to another value of that day."
    DAY_0_POST_DOSE = "day_0_post_dose", "Values of day 0 taken after the infusion began; they serve no window."
    AFTER_DEATH = "after_death", "Values dated after the day of death; they are not used."
    SCALE_MISMATCH = "scale_mismatch", "Scores on another scale than the protocol's; they are not used."
    UTC_DAY = (
        "utc_day",
        "Times written with Z while the study declares no time zone: the laboratory's day may be another.",
    )
    NO_UPPER_LIMIT = "no_upper_limit", "Results without an upper limit of normal; they cannot be called normal."
    BORROWED_UPPER_LIMIT = (
        "borrowed_upper_limit",
        "CK values judged by the patient's nearest limit at the same laboratory.",
    )
    BASELINE_TOO_OLD = "baseline_too_old", "Baselines older than the protocol likes; they are used."
    NEAR_CEILING = "near_ceiling", "Patients whose baseline lies so near the best end that the rule can hardly be met."
    COUNTED_AS_NON_RESPONDER = (
        "counted_as_non_responder",
        "Treated patients without a verdict, whom the primary rule counts as non-responders.",
    )
    COMPARATOR = (
        "comparator",
        "Values known only as a bound: bounds in the means of changes of ln(CK), elsewhere `<x` is x/2 and `>x` is x.",
    )
    UNDETERMINED = (
        "undetermined",
        "CK values whose normality is unknown, by a comparator or for want of an upper limit.",
    )
    OTHER_PRODUCT = "other_product", "Infusions of products that the protocol does not name; they are no treatment."
    COURSE_NUMBER_DISAGREES = (
        "course_number_disagrees",
        "Patients with a course number that the gap rule contradicts; the gap rule decides.",
    )
    SECOND_COURSE = (
        "second_course",
        "Patients with a second course, one that began after day 0: an intercurrent event that "
        "`treatment_policy` ignores.",
    )
    ENDED_BEFORE_TREATMENT = (
        "ended_before_treatment",
        "Patients said to have left the study before their first infusion.",
    )
    ONSET_UNKNOWN = "onset_unknown", "Adverse events without onset; they count."
    RELATION_UNKNOWN = "relation_unknown", "Adverse events of unknown relation; they count as the protocol says."
    EVENT_AFTER_DEATH = (
        "event_after_death",
        "Adverse events dated after the day of death; they count, but the time of the patient ends at death.",
    )
    SERIOUSNESS_UNKNOWN = "seriousness_unknown", "Adverse events not said to be serious or not."
    BEFORE_TREATMENT = "before_treatment", "Adverse events before the first infusion; they do not count."
    DOSE_NOT_CONVERTIBLE = (
        "dose_not_convertible",
        "Doses of glucocorticoids in a unit that is no daily dose, or per kg of an unknown weight; they are not used.",
    )
    ORDERS_COUNTED = (
        "orders_counted",
        "Orders of a drug of which the patient has no other record; they count as if the drug was taken.",
    )
    ORDERS_LEFT_OUT = (
        "orders_left_out",
        "Orders of a drug of which the patient has another record, which says what was taken; they do not count.",
    )
