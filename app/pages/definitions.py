"""A protocol in words: each definition as a sentence that somebody can read who has never seen the document."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from app.analyses.answer import Definition
from app.analyses.response_rates import rule_in_words as coded
from app.pages.wording import count, figure, words
from app.protocol.endpoints import SteroidSparing
from app.timeline.vocabulary import ANALYTES, INSTRUMENTS

Part = tuple[str, tuple[str, ...]]
"""A heading, and its sentences."""
_INTERVALS = {
    "clopper-pearson": "Clopper-Pearson (exact)", "wilson": "Wilson", "jeffreys": "Jeffreys", "mid-p": "mid-p",
    "log-log": "log-log", "log": "log", "plain": "plain",
}  # fmt: skip
_ADJUSTED = {
    "holm": "adjusted by Holm", "hochberg": "adjusted by Hochberg", "none": "not adjusted",
    "fixed_sequence_backward": "tested in a fixed sequence from the last week backwards",
}  # fmt: skip
_RESCUE = {
    "treatment_policy": "does not change the time; it is reported",
    "composite": "ends the time, as an abnormal CK does",
    "hypothetical": "ends the observation of the patient on that day",
    "competing": "is a competing event",
}


def parts_of(protocol: Mapping[str, Any]) -> list[Part]:
    """The protocol in sentences, by heading."""
    listed = [
        ("Treatment", tuple(_treatment(protocol))),
        ("Response", tuple(_responses(protocol))),
        ("Visits and baseline", tuple(_visits(protocol))),
        ("Change from baseline", tuple(_changes(protocol))),
        ("Time with normal CK", tuple(_normal_time(protocol["ck_normal_time"]))),
        ("Glucocorticoids", tuple(_doses(protocol))),
        ("Adverse reactions", tuple(_reactions(protocol["adverse_reactions"]))),
        ("Scores of improvement", tuple(_composites(protocol))),
        ("Scales", tuple(_scales(protocol))),
        ("Statistical conventions", tuple(_conventions(protocol))),
    ]
    return [(title, sentences) for title, sentences in listed if sentences]


def rule_in_words(measure: str, rule: str, given: Mapping[str, Any]) -> str:
    """A response rule as a sentence. `given` are its parameters."""
    said = _rule(rule, given)
    return f"{measure}: {words(rule)}." if said is None else f"{measure} {said}."


def definition_in_words(name: str, given: Mapping[str, Any]) -> str | None:
    """A response rule, a criterion or a window without its measure; `None` for any other definition."""
    said = _rule(name, given)
    if said is None and name in _CRITERIA:
        said = _criterion({"id": name, **given})
    if said is None and name in _WINDOWS:
        said = _window({"id": name, **given})
    return None if said is None else said.removeprefix("is ")


def in_words(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer whose claims tell each rule in words, and not by its name in the protocol."""
    rules = _rules_of(answer)
    return {**answer, "claims": [claim | {"text": text_in_words(claim["text"], rules)} for claim in answer["claims"]]}


def label_in_words(label: str, answer: Mapping[str, Any]) -> str:
    """The name of an outcome, with its rule in words."""
    return text_in_words(label, _rules_of(answer))


def text_in_words(text: str, rules: Mapping[str, str]) -> str:
    """A text of an answer with its rules in words, and other names of code without signs of code."""
    for written, said in rules.items():
        text = text.replace(written, said)
    return _CODE.sub(lambda found: words(found[0].strip("`")).lower(), text)


def _rules_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """How the texts of an answer name its rules, the longest first, and what is said instead."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for row in _with_rules(answer):
        name, parameters = row["definition"]["id"], row["definition"]["parameters"]
        said = definition_in_words(name, parameters)
        if said is None:
            continue
        full = coded(Definition(id=name, parameters=parameters))
        found |= {f" by {full}": f" ({said})", f": {full}": f": {said}"}
        for written in (f"{row['measure']} response by {name}", f"{row['measure']} by {name}"):
            instead = f"{written.removesuffix(f' by {name}')} ({said})"
            several |= {written} if found.setdefault(written, instead) != instead else set()
    return {written: found[written] for written in sorted(found, key=len, reverse=True) if written not in several}


def _with_rules(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows of an answer that are of one rule."""
    lists = (answer.get(name, ()) for name in ("results", "paired_endpoints", "responses"))
    for row in chain.from_iterable(lists):
        yield from (each for each in (row, row.get("first"), row.get("second"))
                    if isinstance(each, Mapping) and {"measure", "definition"} <= each.keys())  # fmt: skip


def _rule(rule: str, given: Mapping[str, Any]) -> str | None:
    criterion, window = given.get("criterion"), given.get("window")
    if rule != "criterion_in_window" or criterion is None or window is None:
        criterion = {**given, "id": _SPECIAL[rule]} if rule in _SPECIAL else None
        window = {**given, "id": "visit" if "week" in given else "days"}
    if criterion is None:
        return None
    sentence = f"{_criterion(criterion)}, {_window(window)}"
    if given.get("missing") == "non_responder":
        sentence += "; a treated patient who cannot be judged counts as a non-responder"
    return sentence


_SPECIAL = {
    "points_above_baseline": "points_better", "percent_above_baseline": "percent_better",
    "ck_decrease_or_normal": "percent_of_baseline", "ck_decrease_or_normal_at_week": "percent_of_baseline",
}  # fmt: skip
"""The criterion of each rule that is a special case."""
_CRITERIA = frozenset({"points_better", "percent_better", "percent_of_baseline", "ck_normal", "best_end_of_scale"})
_WINDOWS = frozenset({"visit", "days"})
_CODE = re.compile("|".join(["`[a-z_]+`", *_SPECIAL, "criterion_in_window"]))
"""Names of code that a text of an answer may have."""


def _criterion(given: Mapping[str, Any]) -> str:
    if given["id"] == "points_better":
        return f"is at least {count(given['points'], 'point')} better than the baseline"
    if given["id"] == "percent_better":
        return f"is better than the baseline by at least {figure(given['percent'])} % of it"
    if given["id"] == "percent_of_baseline":
        return f"is at most {figure(given['percent_of_baseline'])} % of the baseline" + (
            ", or normal" if given.get("or_normal", True) else ""
        )
    if given["id"] == "ck_normal":
        return "is normal" + (", and so is the next value" if given.get("sustained") else "")
    if given["id"] == "best_end_of_scale":
        within = given.get("within_points", 0)
        where = f"within {count(within, 'point')} of" if within else "at"
        return f"is {where} the best end of the scale"
    return words(str(given["id"])).lower()


def _window(given: Mapping[str, Any]) -> str:
    confirmed = {
        "next_value": ", and so is the next value",
        "next_visit": ", and so it is at the visit of the next planned week",
    }.get(str(given.get("confirmed")), "")
    if given["id"] == "visit":
        return f"at the visit of week {figure(given['week'])}{confirmed}"
    which = {"best": "the best value", "any": "any value", "last": "the last value"}[given["value"]]
    return f"judged by {which} of days {given['days'][0]} to {given['days'][1]} after the first infusion{confirmed}"


def _treatment(protocol: Mapping[str, Any]) -> Iterator[str]:
    given = protocol["treatment"]
    yield (
        f"The treatment is {_listed(given['products'])}. Infusions with at most "
        f"{count(given['course_gap_days'], 'day')} between them are one course. Day 0 is the day of the first infusion."
    )


def _responses(protocol: Mapping[str, Any]) -> Iterator[str]:
    for each in protocol["responses"]:
        rule = each["rule"]
        primary = "" if each["primary"] else " (Secondary definition.)"
        yield rule_in_words(rule["measure"], rule["id"], rule) + primary
    if protocol.get("response_rescue") == "composite":
        yield "No value after a rescue treatment or death is a response."
    if not protocol["responses"]:
        yield "No response rule is declared."


def _visits(protocol: Mapping[str, Any]) -> Iterator[str]:
    visits, baseline = protocol["visits"], protocol["baseline"]
    weeks = _listed([figure(week) for week in visits["weeks"]])
    rule = (
        f"the value nearest to the planned day within {count(visits['tolerance_days'], 'day')} is used"
        if visits["rule"] == "nearest_within"
        else "the windows of the visits meet half-way between the planned days"
    )
    yield f"Planned weeks: {weeks} (week 0 is the baseline); {rule}."
    yield (
        "The baseline is the last value on or before day 0; one that is older than "
        f"{count(baseline['flag_older_than_days'], 'day')} is used and flagged."
    )
    if baseline.get("exclude_older_than_days") is not None:
        yield f"A value older than {count(baseline['exclude_older_than_days'], 'day')} is no baseline."
    if baseline.get("run_in_days") is not None:
        yield f"The run-in reaches back {count(baseline['run_in_days'], 'day')}."
    if protocol["upper_limit"] == "own":
        yield "Each CK is judged by the upper limit that was sent with it; without one it is not called normal."
    else:
        yield "A CK without an upper limit is judged by the nearest limit of the same patient and laboratory (flagged)."


def _changes(protocol: Mapping[str, Any]) -> Iterator[str]:
    given, pair = protocol["weekly_change"], protocol["ck_change"]
    adjusted = _ADJUSTED[protocol["conventions"]["multiplicity"]]
    yield (
        f"{_listed(given['measures'])} are compared with the baseline at weeks "
        f"{_listed([figure(week) for week in given['weeks']])}, at the level {figure(given['alpha'])}; "
        f"the p values of a measure are {adjusted}."
    )
    yield (
        f"The change of ln(CK) from week 0 to week {figure(pair['after_week'])} is compared with that from week "
        f"{figure(pair['before_week'])} to week 0."
    )
    if protocol.get("primary_family"):
        family = [words(each.replace(":", " ")) for each in protocol["primary_family"]]
        yield f"Endpoints whose tests are adjusted together: {_listed(family)}."


def _normal_time(given: Mapping[str, Any]) -> Iterator[str]:
    begins = "the first of two consecutive normal CKs" if given.get("sustained") else "the first normal CK"
    yield f"The time begins with {begins} after day 0 and ends with the next CK above its limit."
    treatments = f"a second course, or a new immunosuppressant{_steroids(given.get('steroid_rescue'))}"
    yield f"A rescue treatment ({treatments}) or death {_RESCUE[given['rescue']]}."
    first = "interval-censored estimate" if given.get("primary_estimate") == "interval" else "Kaplan-Meier estimate"
    yield f"The {first} comes first. The mean is restricted to {count(given['rmst_until_days'], 'day')}."


def _doses(protocol: Mapping[str, Any]) -> Iterator[str]:
    given = SteroidSparing().model_dump(mode="json") | (protocol.get("steroid_sparing") or {})
    yield (
        "Doses count in mg of prednisolone equivalents. They are added up over "
        f"{_listed([figure(days) for days in given['windows']])} days, day 0 included."
    )
    stays = "" if given["sustained_days"] == 1 else f" for {count(given['sustained_days'], 'day')} in a row"
    yield f"A dose of at most {figure(given['low_dose'])} mg a day{stays} is low."
    free = "no glucocorticoid" if not given["steroid_free_dose"] else f"at most {figure(given['steroid_free_dose'])} mg"
    yield f"A response is steroid-free with {free} on the day of the value that is judged."
    after = "is not known" if given["after_last_period"] == "unknown" else "is 0"
    yield f"After the end of the last reported period the dose {after}; between two periods it is not known."


def _steroids(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return ""
    over = "the lowest dose since then" if rule["over"] == "lowest" else "that of day 0"
    rise = "" if rule["rise"] is None else f"a dose at least {figure(rule['rise'])} mg/d over {over}"
    pulse = "" if rule["pulse"] is None else f"a pulse of at least {figure(rule['pulse'])} mg/d"
    doses = " or ".join(filter(None, (rise, pulse)))
    return f", or glucocorticoids after day 0: {doses}, in prednisolone equivalents"


def _reactions(given: Mapping[str, Any]) -> Iterator[str]:
    related = [words(each).lower() for each in given["related"] if each != "true"]
    yield f"An adverse event counts as a reaction if its relation to the infusion is {_listed(related, 'or')}."
    windows = given.get("risk_windows") or [[0, 1], [2, 14]]
    yield f"Events are also counted by days after an infusion: {_listed([f'{a} to {b}' for a, b in windows])}."


def _composites(protocol: Mapping[str, Any]) -> Iterator[str]:
    score, improvement = protocol.get("improvement_score"), protocol.get("definition_of_improvement")
    if score:
        yield f"ACR/EULAR 2016 Total Improvement Score: {_core_set(score['core_set'])}."
    if improvement:
        yield (
            f"IMACS definition of improvement: at least {improvement['improved_measures']} of six measures better by "
            f"{figure(improvement['improved_percent'])} %, at most {improvement['worse_measures']} worse by "
            f"{figure(improvement['worse_percent'])} %, muscle strength not among these: "
            f"{_core_set(improvement['core_set'])}."
        )


def _core_set(given: Mapping[str, Any]) -> str:
    who = {"adult": "adults", "juvenile": "children"}.get(given["population"], str(given["population"]))
    return (
        f"for {who}; muscle strength by {given['muscle_strength']}, function by {given['function']}, the most abnormal "
        f"enzyme of {_listed(given['enzymes'])}"
    )


def _scales(protocol: Mapping[str, Any]) -> Iterator[str]:
    for name, scale in protocol["scales"].items():
        yield f"{name}: {figure(scale['minimum'])} to {figure(scale['maximum'])}, {scale['better']} is better."
    for name, maximum in protocol.get("sent_scales", {}).items():
        yield f"{name} is sent on a scale to {figure(maximum)} and converted."
    for name, values in protocol.get("attributes", {}).items():
        yield f"Patients have the attribute {name}: {_listed(values, 'or')}."
    if protocol.get("specification_grid"):
        yield "The protocol declares its own grid of alternative definitions."


def _conventions(protocol: Mapping[str, Any]) -> Iterator[str]:
    given = protocol["conventions"]
    yield f"Intervals of a proportion: {_INTERVALS[given['proportion']]}; the second one is Wilson's."
    flat = {"midpoint": "the middle of the interval", "lower": "its lower end"}[given["median"]]
    end = {"left_end": "its left end", "midpoint_to_last": "the middle of it", "not_reached": "not reached"}
    yield (
        f"Median of a survival curve: {flat} where the curve is exactly 0.5; at a plateau of 0.5 up to the end, "
        f"{end[given['plateau']]}. Its limits are on the {_INTERVALS[given['interval']]} scale."
    )
    zeros = "are left out" if given["zeros"] == "drop" else "are ranked (Pratt)"
    yield f"Signed-rank test: differences of zero {zeros}; p is {words(given['signed_rank_p']).lower()}."


def _listed(items: Sequence[Any], last: str = "and") -> str:
    named = [str(item) for item in items]
    return " ".join([", ".join(named[:-1]), last, named[-1]]) if len(named) > 1 else "".join(named)


MEANINGS: dict[str, str] = {
    **{code: analyte.name for code, analyte in ANALYTES.items()},
    **{code: instrument.name for code, instrument in INSTRUMENTS.items()},
}
"""What the short names of results and scores stand for."""
