"""The pages of the ledger: what each revision did, in words, and which headline figures moved between two revisions."""

from collections.abc import Mapping
from typing import Any

from app.estimate.results import Reason
from app.pages.page import PINNED, Names, Page, PageReading
from app.pages.patients import cursor_of
from app.pages.wording import count, figure, percent, words

MOST_ON_A_PAGE = "100"
FORMATS = {
    "native-json": "JSON", "native-ndjson": "NDJSON", "fhir-r4": "FHIR R4", "hl7v2": "HL7 v2", "labs-csv": "CSV",
    "csv": "CSV", "xlsx": "XLSX",
}  # fmt: skip
"""What the formats of submissions are called."""
_DID = {
    "study": "The settings of the study were declared",
    "protocol": "A protocol was declared",
    "erasure": "A person was erased",
    "dismissal": "An item that was set aside was dismissed",
    "decision": "It was decided whether two facts are the same",
}
"""What a revision did that brought no facts, by its format."""
KINDS = {
    "lab_result": "result", "assessment": "score", "infusion": "infusion", "medication": "drug",
    "adverse_event": "adverse event", "attribute": "attribute of a patient",
}  # fmt: skip


async def _revisions(reading: PageReading, names: Names) -> dict[str, Any]:
    given = {name: value for name, value in reading.asked.query if value}
    query = [("order", given.get("order", "newest")), ("limit", given.get("limit", MOST_ON_A_PAGE))]
    known = {"order", "limit", "cursor", *(name for name, _ in reading.pinned)}
    place = [(name, value) for name, value in given.items() if name == "cursor" or name not in known]
    base = f"/v1/studies/{names['study']}"
    study = await reading.json(base)
    listed = await reading.json(f"{base}/revisions", [*query, *place])
    return {
        "rows": [each | {"did": done_by(each), "by": who(each)} for each in listed["items"]],
        "latest": study["revision"],
        "following": cursor_of(listed["next"]),
        "filters": query,
        "later": "cursor" in given,
        "order": given.get("order", "newest"),
    }


def done_by(revision: Mapping[str, Any]) -> str:
    """What a revision did, as a sentence."""
    if revision["format"] in _DID:
        return _DID[revision["format"]] + "."
    counts = revision["counts"]
    parts = (
        ("added", "new fact", "new facts"),
        ("superseded", "statement that replaced an earlier one", "statements that replaced earlier ones"),
        ("withdrawn", "fact that no longer counts", "facts that no longer count"),
        ("late", "statement older than what stands", "statements older than what stands"),
    )
    said = [count(counts[name], one, many) for name, one, many in parts if counts[name]]
    text = ", ".join(said) or "No fact changed"
    return f"{text[:1].upper()}{text[1:]}."


def who(revision: Mapping[str, Any]) -> str:
    """Who sent a revision, and in which format."""
    sender = revision["client"] or "a program on this machine"
    form = "" if revision["format"] in _DID else f", {FORMATS.get(revision['format'], words(revision['format']))}"
    return sender + form


async def _changes(reading: PageReading, names: Names) -> dict[str, Any]:
    query = [(name, value) for name, value in reading.asked.query if value and name not in PINNED]
    base = f"/v1/studies/{names['study']}"
    found = await reading.json(f"{base}/changes", query)
    figures = [_figure(each) for each in found["figures"]]
    return {
        "since": found["from"],
        "until": found["to"],
        "patients": ("patients", "true") in query,
        "figures": figures,
        "moved": [each for each in figures if each["moved"]],
        "steps": [_step(each) for each in found["items"]],
        "following": cursor_of(found["next"]),
        "filters": [(name, value) for name, value in query if name != "cursor"],
    }


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    facts = [
        f"{count(each[which], KINDS[each['kind']], _many(each['kind']))} {verb}"
        for each in step["facts"]
        for which, verb in (("added", "added"), ("ended", "ended"))
        if each[which]
    ]
    did = _DID.get(step["format"]) or ", ".join(facts) or "No fact changed"
    if step["protocol_changed"] and step["format"] != "protocol":
        did += "; another protocol was declared"
    moved = [_figure(each)["sentence"] for each in step["figures"]]
    return {**step, "did": f"{did}.", "by": who(step), "moved": moved}


def _many(kind: str) -> str:
    return "attributes of patients" if kind == "attribute" else KINDS[kind] + "s"


def _figure(change: Mapping[str, Any]) -> dict[str, Any]:
    """A headline figure at two revisions: its name, both values, and what happened to it as a sentence."""
    write = percent if change["of"] == "rate" else figure
    unit = " days" if change["of"] == "median" else ""
    name = name_of(change)
    digits = 1 if change["of"] == "rate" else 4 if change["of"] == "median" else 3
    before, after = (
        None if change[end] is None else f"{write(change[end], digits)}{unit}" for end in ("before", "after")
    )
    n_before, n_after = change["n_before"], change["n_after"]
    moved = any(change[f"{each}before"] != change[f"{each}after"] for each in ("", "n_", "reason_"))
    return {
        "name": name,
        "before": before,
        "after": after,
        "n_before": n_before,
        "n_after": n_after,
        "why_before": _why(change["reason_before"]),
        "why_after": _why(change["reason_after"]),
        "moved": moved,
        "sentence": _sentence(name, change, before, after),
    }


def _sentence(name: str, change: Mapping[str, Any], before: str | None, after: str | None) -> str:
    n_before, n_after = change["n_before"], change["n_after"]
    of = f" The number of patients went from {figure(n_before)} to {figure(n_after)}."
    if n_before == n_after or None in {n_before, n_after}:
        of = ""
    if before is None and after is None:
        return f"{name} could not be given at either revision.{of}"
    if before is None:
        return f"{name} is {after}; at the earlier revision there was none.{of}"
    if after is None:
        return f"{name} was {before}; now there is none: {_why(change['reason_after'])}.{of}"
    if before == after:
        stayed = "stayed at" if change["before"] == change["after"] else "moved by less than is shown and is"
        return f"{name} {stayed} {after}.{of}"
    verb = "rose" if change["after"] > change["before"] else "fell"
    return f"{name} {verb} from {before} to {after}.{of}"


def name_of(change: Mapping[str, Any]) -> str:
    """What a headline figure is called."""
    measure = f"ln({change['measure']})" if change["scale"] == "ln" else change["measure"]
    if change["of"] == "rate":
        return f"The response rate by {measure}"
    if change["of"] == "median":
        return f"The median time with normal {measure}"
    if change["analysis"] == "ck-change":
        return f"The change of {measure} in the {change['week']} weeks after treatment, less that before it,"
    return f"The mean change of {measure} at week {change['week']}"


def _why(code: str | None) -> str:
    if code is None:
        return ""
    known = {str(each): each.description for each in Reason}
    return known.get(code, words(code)).removesuffix(".")


PAGES = (
    Page("/v1/studies/{study}/revisions", "revisions.html", _revisions),
    Page("/v1/studies/{study}/changes", "changes.html", _changes),
)
