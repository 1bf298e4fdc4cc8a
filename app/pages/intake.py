"""The pages of the intake: add data, the worklist of what is set aside, and what is decided about equal facts."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from app.http.representations import Asked
from app.pages.facts import lines_of
from app.pages.given_files import DELIMITERS, KINDS, TABLES
from app.pages.load_outcome import meaning, place_in_words
from app.pages.page import Names, Page, PageReading, together
from app.pages.wording import words
from app.readers.recognition import Format
from app.readers.table_dates import DATE_FORMS
from app.store.decisions import Said
from app.store.worklist import DismissalReason
from app.timeline.same_facts import Decided

DISMISSALS = {
    "duplicate": "The same result is stored already",
    "error_at_source": "The source says that it was wrong",
    "not_of_study": "It is not for this study",
    "cannot_be_mended": "The source cannot send it again",
    "other": "Another reason (write it below)",
}
"""The reasons for a dismissal in words, in the order in which they are offered."""
DECISIONS: dict[Said, str] = {
    "same": "They are the same", "different": "They are different", "undecided": "Take it back",
}  # fmt: skip
"""What a person may decide about two facts, in words."""
CHOICES = [(name, DECISIONS[name]) for name in ("same", "different")]
"""What a person may decide first."""
MOST_PAIRS = 10
"""How many pairs the page that adds data shows."""
_SAID: dict[Decided, str] = {"same": "the same", "different": "different", "proven": "the same, by their content"}
if DISMISSALS.keys() != set(get_args(DismissalReason)):
    raise AssertionError("every reason for a dismissal has its words")
ITEMS_ARE: dict[Format, str] = {
    "csv": "Patients", "xlsx": "Patients", "fhir": "Resources", "hl7v2": "Messages", "timelines": "Timelines",
    "ndjson": "Lines",
}  # fmt: skip
"""What the items of each kind of file are."""
_DECLARATIONS = {
    "local_codes": "This code of the laboratory means this result",
    "unit_aliases": "The laboratory writes this unit in another way",
    "charsets": "The sender names its character set in another way",
    "authorities": "Numbers of this authority identify the patients",
    "result_time": "Each result has its own time of the sample (OBX-14)",
    "time_zone": "The laboratory's clock shows the time of this zone",
}


async def add_data(reading: PageReading, names: Names) -> dict[str, Any]:
    """What the page of the intake shows."""
    home = f"/v1/studies/{names['study']}"
    intake = await reading.json(f"{home}/intake")
    study, listed = await together(reading.json(home), reading.if_allowed(f"{home}/set-aside"))
    return form_of(reading.asked, study) | {
        "sources": [_source(each) for each in intake["items"]],
        "proposals": in_words(intake["proposals"]),
        **waiting_of(listed),
    }


def form_of(asked: Asked, study: Mapping[str, Any]) -> dict[str, Any]:
    """What the form that takes a file shows."""
    return {
        "declared": study,
        "kinds": KINDS,
        "items_are": ITEMS_ARE,
        "delimiters": DELIMITERS,
        "tables": TABLES,
        "date_forms": DATE_FORMS,
        "most_bytes": asked.state.settings.max_body_bytes,
        "outcome": None,
        "given": None,
        "rehearsed": "",
        "sources": None,
        "proposals": [],
        **waiting_of(None),
    }


def waiting_of(listed: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the page that adds data shows of the first page of the worklist: whether anything waits, and which facts
    may be the same.
    """
    items = [] if listed is None else listed["items"]
    pairs = [_with_pair(item) for item in items if "pair" in item]
    return {
        "waiting": bool(items),
        "pairs": pairs[:MOST_PAIRS],
        "more_pairs": len(pairs) > MOST_PAIRS,
        "choices": CHOICES,
    }


def in_words(proposals: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a study could declare, as a sentence with what it would be."""
    return [
        {
            **proposal,
            "title": _DECLARATIONS.get(proposal["declaration"], words(proposal["declaration"])),
            "shown": _declared(proposal["value"]),
        }
        for proposal in proposals
    ]


def _declared(value: object) -> str | None:
    """What would be declared, as a person writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name or 'nothing'} = {what}" for name, what in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return None if value is None else str(value)


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    reasons = [
        {"what": what, "code": code, "text": meaning(code), "count": number}
        for what in ("refused", "set_aside", "noted", "not_applied")
        for code, number in source[what].items()
    ]
    return {
        **source,
        "sums": {name: sum(source[name].values()) for name in ("noted", "not_applied", "set_aside", "refused")}
        | {"not_ours": sum(each["count"] for each in source["not_ours"])},
        "reasons": reasons,
    }


async def worklist(reading: PageReading, names: Names) -> dict[str, Any]:
    """What is set aside, and what would let more of it count."""
    home = f"/v1/studies/{names['study']}"
    listed = await reading.json(f"{home}/set-aside", reading.asked.query)
    intake = await reading.if_allowed(f"{home}/intake")
    return {
        "items": [
            {
                **item,
                "text": meaning(item["reason"]),
                "where": place_in_words(item["place"]) if item["format"] in {"csv", "xlsx"} else item["place"],
            }
            for item in map(_with_pair, listed["items"])
        ],
        "next": listed["next"],
        "proposals": in_words(intake["proposals"]) if intake is not None and not reading.pinned else [],
        "dismissals": DISMISSALS,
        "choices": CHOICES,
    }


async def decided(reading: PageReading, names: Names) -> dict[str, Any]:
    """What is decided about facts that may be the same."""
    listed = await reading.json(f"/v1/studies/{names['study']}/decisions", reading.asked.query)
    return {
        "items": [
            {
                **item,
                **_pair(item),
                "title": words(item["kind"]),
                "said": _SAID[item["decision"]],
                "who": "the service" if item["decision"] == "proven" else item["by"] or "a program on this machine",
                "choices": [(name, title) for name, title in DECISIONS.items() if name != item["decision"]],
            }
            for item in listed["items"]
        ],
        "next": listed["next"],
    }


def _with_pair(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of the worklist, with its two facts as a person reads them if it is about two, and what it is called."""
    pair = _pair(item["pair"]) if "pair" in item else None
    what, named = item["code"] or "A fact", f"item {item['item']}"
    if pair is not None and pair["lines"]:
        first = pair["lines"][0]
        what = first.what
        if item["item"] is None:
            named = f"{what} of {item['patient']}, {first.when[:10] or 'day not known'}"
    return {**item, "pair": pair, "what": what, "named": named}


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Two facts as lines, and the name of the pair."""
    versions = [{"kind": pair["kind"], "fact": fact} for fact in pair["facts"]]
    return {"lines": lines_of(versions, None, None), "name": pair["decide"].rpartition("/")[2]}


PAGES = (
    Page("/v1/studies/{study}/intake", "add_data.html", add_data),
    Page("/v1/studies/{study}/set-aside", "worklist.html", worklist),
    Page("/v1/studies/{study}/decisions", "decisions.html", decided),
)
