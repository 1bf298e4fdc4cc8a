"""What to be careful about: the codes of caveats as answers have them, each with its sentence."""

CAVEATS: dict[str, str] = {
    "uncontrolled_pre_post": "A change in one treated group is not the effect of the treatment: time, other "
    "treatment and regression to the mean are in it.",
    "selection_on_baseline": "Patients enrolled because of their values before treatment fall back towards their "
    "mean; the before/after difference counts the error of the week-0 value twice.",
    "definitions_are_ours": "The definitions are those of the named protocol, not those of any published trial.",
    "many_definitions": "Many definitions were tried on the same patients: the declared one is the result, the others "
    "show how much hangs on it, and the best of them is no finding.",
    "best_of_many": "The best of several values is biased upwards; compare the same rule on the last value.",
    "conditioned_on_normalising": "Only patients whose CK became normal are in the risk set: a group formed after "
    "treatment.",
    "rescue_ignored": "The protocol declares another strategy for further treatment; this estimate ignores further "
    "treatment and goes on, as under `treatment_policy`.",
    "start_seen_late": "A spell is taken to begin at its first normal CK; it may have begun up to one visit gap "
    "earlier, and its time is short by as much (see the bounds).",
    "visits_not_random": "An interval-censored estimate takes it that draws were made without regard to CK; a draw "
    "made because of a relapse biases it.",
    "resampling_is_approximate": "Percentile limits of an interval-censored median are approximate and, in small "
    "groups and with irregular visits, rather too narrow.",
    "seen_at_visits_only": "CK is known only at draws: a spell may have ended up to one visit gap earlier.",
    "planned_from_observed": "Rates and deviations observed in few patients are uncertain, and so is what is planned "
    "with them; a size for the very difference that was observed says nothing beyond its p value.",
    "enzyme_ranges_unverified": "The range by which the fall of an enzyme is divided is a parameter of the protocol "
    "without a verified source; the enzyme moves the score by at most 7.5 points.",
    "incomplete_visits": "A visit that lacks a core set measure has bounds and no verdict of its own where they "
    "disagree: a rate is of complete visits, and the counts that the bounds allow stand beside it; or it is of all "
    "patients seen, and null between two bounds where they disagree.",
    "response_seen_at_visits": "A response or worsening is seen at visits only: it may have begun up to one visit gap "
    "earlier.",
    "events_not_independent": "An exact Poisson interval takes the events of a patient for independent of each other, "
    "which they seldom are; the clustered interval beside it does not.",
    "courses_not_independent": "Courses of one patient are alike; the clustered interval counts patients, the others "
    "count each course as if it were another patient's.",
    "later_courses_selected": "A later course is given to patients who responded and lost it, or who did not respond: "
    "how they do says little of a second course for everybody.",
    "spontaneous_reports": "An adverse event that was not posted does not exist here.",
    "not_randomised": "Nobody was assigned to these groups: what differs between them may be who is in them, not how "
    "they respond.",
    "many_comparisons": "Every rule, measure and pair of groups is a test of its own; p values are adjusted over the "
    "weeks of a measure at most.",
    "few_events": "A group with fewer than 10 events has hardly a median, and its hazard ratio hardly an interval: "
    "that no difference is found is no sign that there is none.",
    "cause_specific_hazards": "Under `competing` the log-rank test and the hazard ratios compare the rates of abnormal "
    "CK among those still alive and without rescue; they say nothing of how many will ever become abnormal.",
    "small_counts": "A group of fewer than 20 patients says little: that no difference is found is no sign that there "
    "is none.",
    "other_protocol": "The other study declares another protocol; the first study's definitions were applied to both.",
    "patients_may_overlap": "A patient who is in both studies counts in both: pseudonyms cannot be compared.",
    "compound_symmetry": "The model assumes that any two visits of a patient correlate alike; visits far apart seldom "
    "do.",
    "no_small_sample_correction": "Standard errors take the variances as known, without the correction of Kenward and "
    "Roger: for few patients the intervals are too narrow.",
    "missing_at_random": "The model assumes that whether a value is missing depends on the values seen only.",
}
