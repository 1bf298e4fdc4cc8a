"""What one caveat found in the data, and the sentence that says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from app.estimate.results import Reason
from app.timeline.cohort import Bools

SENTENCES: dict[str, str] = {
    "uncontrolled_pre_post": "All {of} treated patients are compared with themselves only: what time and other "
    "treatment would have done is in every change.",
    "selection_on_baseline": "In {count} of {of} patients CK at baseline was at least as high as weeks before: who is "
    "treated while a value is up sees it fall without treatment.",
    "selected_high": "In {count} of {of} patients CK at baseline was above its upper limit: where that is everybody, a "
    "high value was how they were found.",
    "regression_to_the_mean": "Regression to the mean is expected to change ln(CK) by {expected} of the observed "
    "{observed}, and by more in a group that was chosen by its baselines.",
    "ceiling_at_baseline": "In {count} of {of} patients the score at baseline was within a tenth of its scale of the "
    "best end, where it can hardly improve.",
    "floor_at_baseline": "In {count} of {of} patients the score at baseline was within a tenth of its scale of the "
    "worst end, where it can hardly get worse.",
    "steroid_taper": "In {count} of {of} patients whose dose is known prednisolone was reduced before the last "
    "endpoint, which hides improvement.",
    "steroid_increase": "In {count} of {of} patients whose dose is known prednisolone was raised before the last "
    "endpoint, which may be the improvement.",
    "new_immunosuppressant": "In {count} of {of} patients an immunosuppressant was begun before the last endpoint, "
    "which may be the improvement.",
    "second_course": "In {count} of {of} patients a second course was begun before the last endpoint.",
    "death": "Of {of} patients {count} died before the last endpoint: their later values do not exist.",
    "short_follow_up": "Follow-up of {count} of {of} patients ended before the window of the last week compared.",
    "ck_response_without_strength": "In {count} of {of} patients CK responded and muscle strength did not.",
    "strength_response_without_ck": "In {count} of {of} patients muscle strength responded and CK did not.",
    "missing_data": "Of {of} planned values {count} are missing.",
    "few_pairs": "At the last week compared {count} of {of} differences are not zero, so that no exact "
    "signed-rank p below {least_p} is possible.",
    "significance_depends_on_one_patient": "Of {of} tests {count} would be on the other side of alpha without one of "
    "the patients.",
    "best_of_many": "Of {of} main response rules {count} take the best of several values, which is biased upwards.",
    "definitions_changed": "Whether the definitions were changed after the first outcome is said in `provenance`.",
    "seen_at_visits_only": "In {count} of {of} patients whose CK became normal its end lies somewhere between two "
    "draws more than a day apart.",
    "several_laboratories": "In {count} of {of} patients CK was measured by more than one laboratory.",
    "upper_limit_changes": "In {count} of {of} patients the upper limit of CK changed, and with it what is normal.",
    "comparators": "Of {of} CK values {count} are known only as a bound; logarithms take `<x` as x/2 and `>x` as x.",
    "conditioned_on_normalising": "In {count} of {of} patients CK never became normal: the time with normal CK is told "
    "of the others only.",
    "spontaneous_reports": "An adverse event of any of the {of} patients that was not posted does not exist here.",
}
"""The codes of caveats about data, each with its sentence."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What was counted for one caveat: `count` of `of`, and `unknown` in whom it could not be told.

    `applies` is null where `reason` says why.
    """

    code: str
    applies: bool | None
    count: int | None
    of: int | None
    measure: str | None = None
    unknown: int = 0
    evidence: Mapping[str, float | None] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    reason: Reason | None = None

    @property
    def text(self) -> str:
        """The sentence with the numbers in it, or why it cannot be told."""
        if self.applies is None and self.code != "definitions_changed":
            return "This cannot be told. " + (self.reason.description if self.reason else "")
        numbers = {name: "unknown" if x is None else f"{x:.3g}" for name, x in self.evidence.items()}
        return SENTENCES[self.code].format(count=self.count, of=self.of, **numbers)


def counted(
    code: str,
    found: Bools,
    among: Bools,
    *,
    measure: str | None = None,
    unknown: int = 0,
    evidence: Mapping[str, float | None] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Notice:
    """A caveat that applies as soon as one of those `among` whom it can be told has what is `found`."""
    count, of = int(np.count_nonzero(found & among)), int(np.count_nonzero(among))
    return Notice(
        code=code,
        applies=count > 0 if of else None,
        count=count,
        of=of,
        measure=measure,
        unknown=unknown,
        evidence=evidence or {},
        parameters=parameters or {},
        reason=None if of else Reason.NO_PATIENTS,
    )
