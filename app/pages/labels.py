"""What the codes and methods of the answers are called on a page, and the sentences that explain them."""

from typing import Any

from app.analyses.claims import BECAUSE
from app.derive.reasons import ExclusionReason, FlagCode
from app.estimate.results import Reason
from app.pages.definitions import definition_in_words
from app.pages.wording import figure, words

METHODS = {
    "mid-p": "mid-p", "t": "t", "log-log": "log-log", "normal": "normal", "ln": "ln(CK)", "raw": "measured value",
    "hodges_lehmann_exact": "Hodges-Lehmann, exact", "hodges_lehmann_normal": "Hodges-Lehmann, normal",
    "wilcoxon_exact": "signed-rank test, exact", "wilcoxon_normal": "signed-rank test, normal",
    "wilcoxon_normal_corrected": "signed-rank test, normal with correction", "paired_t": "paired t test",
    "one_sample_t": "one-sample t test", "welch_t": "Welch's t test", "mcnemar_exact": "McNemar test, exact",
    "mann_whitney_exact": "Mann-Whitney test, exact", "log_rank": "log-rank test",
    "likelihood_ratio": "likelihood-ratio test", "fisher_exact": "Fisher's exact test",
    "satterthwaite_t": "t with Satterthwaite's degrees of freedom", "poisson_exact": "Poisson, exact",
    "poisson_exact_conditional": "Poisson, exact conditional", "cluster_robust_log_t": "clustered by patient",
    "bootstrap_percentile": "bootstrap, percentile", "schoenfeld_score/km": "Schoenfeld residuals",
    "fixed_sequence_backward": "fixed sequence, backward",
}  # fmt: skip
"""Methods by the name under which people know them."""
NAMES = {
    "rmst": "Restricted mean time", "sd": "SD", "icc": "Intraclass correlation", "q1": "Lower quartile",
    "q3": "Upper quartile", "n": "Patients (n)", "at_risk": "At risk", "by_term": "By term", "of": "Figure",
    "geometric_mean_ratio": "Ratio to baseline", "ratio_of_ratios": "Ratio of the two ratios",
    "all_treated": "Of all treated", "df": "Degrees of freedom", "never_normal": "Never normal", "p": "p",
    "by_rule": "By rule", "which": "Which", "nothing": "If nothing had happened",
    "results": "Main table", "by_severity": "By severity",
}  # fmt: skip
"""Fields whose name says too little."""
STEPS = {
    "all": "In the study", "safety": "Treated (safety set)", "efficacy": "With a value after baseline (efficacy set)",
    "ck_change": "CK before and after treatment", "ck_normal_time": "Time with normal CK",
    "time_to_first_normal": "Time to the first normal CK",
}  # fmt: skip
"""The steps of the flow of patients."""
_SENTENCES: dict[str, str] = {
    **{str(code): code.description for code in FlagCode},
    **{str(code): code.description for code in Reason},
    **{str(code): code.description for code in ExclusionReason},
}


def label(name: str) -> str:
    """The heading of a field."""
    return NAMES.get(name) or words(name)


def method(name: str) -> str:
    """A method of an interval, a test or an adjustment."""
    if name not in METHODS and "-" in name:
        return "-".join(part[:1].upper() + part[1:] for part in name.split("-")).replace("/", ", ")
    return METHODS.get(name) or words(name)


def sentence(code: str) -> str:
    """The sentence that explains a code; the code as words where it has none."""
    return _SENTENCES.get(code) or words(code)


def because(code: str) -> str:
    """What decided a claim, as a sentence."""
    return BECAUSE.get(code) or words(code)


def step(name: str) -> str:
    """A step of the flow of patients."""
    kind, _, measure = name.partition(":")
    return f"{measure} response" if kind == "response" else STEPS.get(name) or words(name)


def definition(given: Any) -> str:  # noqa: ANN401 - any JSON
    """A definition in words; one that has none by its name, with its parameters: `visits (weeks 1, 2, 4)`."""
    if isinstance(given, dict):
        name, parameters = given.get("id"), given.get("parameters", {key: given[key] for key in given if key != "id"})
        if name is not None and (said := definition_in_words(str(name), parameters)) is not None:
            return said
        listed = ", ".join(f"{_plain(key)} {definition(part)}" for key, part in parameters.items() if part is not None)
        named = "" if name is None else _plain(str(name))
        return f"{named} ({listed})" if named and listed else named or listed
    if isinstance(given, list):
        return (" to " if len(given) == 2 else ", ").join(map(definition, given))
    return _plain(given) if isinstance(given, str) else figure(given)


def _plain(code: str) -> str:
    return code.replace("_", " ").replace("percent of", "% of")


def group(value: dict[str, Any] | str | None) -> str:
    """A subgroup: `diagnosis: polymyositis`."""
    if isinstance(value, str):
        return value
    if not value:
        return ""
    return ", ".join(f"{words(name)}: {each or 'not known'}" for name, each in value.items())


FILTERS = {
    "label": label, "method": method, "sentence": sentence, "because": because, "step": step,
    "definition": definition, "group": group,
}  # fmt: skip
"""For the templates."""
