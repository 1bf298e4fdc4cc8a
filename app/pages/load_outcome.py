"""What happened to a file that was sent, in the same words for every format."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import SENTENCES, Accepts
from app.http.representations import ServedDocument
from app.pages.given_files import Sending
from app.pages.wording import words
from app.timeline.receipts import NOT_KEPT, NOTES, Disposition

MOST_PLACES = 20
"""Greatest number of places that are named for one reason."""
NOTED = "noted"
_SKIPPED = {
    "resource": "Resources of this kind are not kept.",
    "code": "It is another test or drug, which this service does not keep.",
    "status": "Its status says that there is no result yet, or none any more.",
    "value": "It has no value, or one of a kind that is not kept.",
    "segment": "Segments of this kind are not kept.",
}
_KINDS: tuple[tuple[str, str, str], ...] = (
    (Disposition.REFUSED, "Refused", "A fault in what was sent. Nothing of it is stored: mend it and send it again."),
    (Disposition.SET_ASIDE, "Set aside", "It matters and cannot count as it was sent. It waits on the worklist."),
    (NOTED, "Noted", "It counts, and there is something to know about it."),
    (Disposition.NOT_APPLIED, "Not applied", "Another statement about the same fact stands."),
    (Disposition.NOT_OURS, "Not ours", "The service does not keep content of this kind."),
)
"""What a person should look at, in order of urgency: the name, its title and what it means."""


def meaning(code: str) -> str:
    """A reason, a note or a fault in a sentence."""
    return _MEANINGS.get(code) or f"{words(code)}."


_MEANINGS: dict[str, str] = {
    **_SKIPPED,
    **{str(code): text for code, text in SENTENCES.items()},
    **{str(code): text for code, text in NOT_KEPT.items()},
    **{str(code): text for code, text in NOTES.items()},
}


@dataclass(slots=True)
class LoadReason:
    """One reason why facts are not plainly kept, and where they stood."""

    kind: str
    code: str
    accepts: str | None
    count: int = 0
    places: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The reason in a sentence."""
        return meaning(self.code)

    @property
    def page(self) -> str | None:
        """The page of the documentation that says more about what is accepted."""
        found = re.search(r"docs/(\w+)\.md(#[\w-]+)?", self.accepts or "")
        return None if found is None else f"/docs/{found[1]}{found[2] or ''}"


@dataclass(slots=True)
class LoadOutcome:
    """What happened to a file. `facts` are counted by disposition, `items` (patients, entries, messages) by status."""

    table: bool = False
    facts: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str, str | None], LoadReason] = field(default_factory=dict)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why a request as a whole was refused, in sentences."""

    def add(self, sending: Sending, answer: ServedDocument) -> None:
        """Add the answer to one request."""
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if "hl7" in media_type:
            self._add_acknowledgement(answer.body.decode("utf-8", "replace"))
        elif media_type == "application/x-ndjson":
            for line in answer.body.splitlines():
                self._add_line(json.loads(line))
        elif media_type == "application/fhir+json":
            self._add_fhir(answer.json(), sending)
        elif answer.is_json:
            self._add_document(answer.json(), answer.status)

    def groups(self) -> list[dict[str, Any]]:
        """The reasons by what happened, the most urgent first."""
        urgent = sorted(self.reasons.values(), key=lambda reason: -reason.count)
        found = [
            {"name": name, "title": title, "means": means, "reasons": [each for each in urgent if each.kind == name]}
            for name, title, means in _KINDS
        ]
        return [group for group in found if group["reasons"]]

    @property
    def was_refused(self) -> bool:
        """Whether the file was refused as a whole."""
        return bool(self.problems or self.reasons) and not self.facts.total() and not self.items

    @property
    def kept_nothing(self) -> bool:
        """Whether nothing counts because of this file."""
        return not self.facts[Disposition.KEPT]

    def _reason(self, kind: str, code: str, accepts: str | None = None) -> LoadReason:
        return self.reasons.setdefault((kind, code, accepts), LoadReason(kind, code, accepts))

    def _note(self, kind: str, code: str, place: str, accepts: str | None = None) -> None:
        reason = self._reason(kind, code, accepts)
        reason.count += 1
        place = place_in_words(place) if self.table else place
        if place and len(reason.places) < MOST_PLACES and place not in reason.places:
            reason.places.append(place)

    def _add_document(self, document: Mapping[str, Any], status: int) -> None:
        """The answer to timelines or a table, or a problem document."""
        self._propose(document.get("proposals"))
        if "items" not in document and status >= 400:
            self._add_problem(document)
            return
        self.facts.update(document["facts"])
        for item in document["items"]:
            self._add_item(item)
        for code, count in document.get("short", {}).get("notes", {}).items():
            self._reason(NOTED, code).count += count  # the lines that its receipts do not list

    def _add_line(self, line: Mapping[str, Any]) -> None:
        """One line of the answer to lines; the last one has the sums."""
        if "index" in line:
            self._add_item(line)
            return
        self.facts.update(line["facts"])
        self._propose(line.get("proposals"))
        if line.get("stopped"):
            self.problems.append("Too many lines were refused, so that the last lines were not read.")
        if not all(each["whole"] for each in line.get("exports", ())):
            self.problems.append("This export was cut or edited: it does not have the lines that its first line names.")

    def _add_item(self, item: Mapping[str, Any]) -> None:
        self.items[item["status"]] += 1
        where = item.get("patient") or (f"line {item['line']}" if "line" in item else "")
        receipt, problem = item.get("receipt"), item.get("problem")
        for line in (receipt or {}).get("lines", ()):
            self._add_fact(line, where)
        if problem is not None:
            said = {(line["place"], line.get("reason")) for line in (receipt or {}).get("lines", ())}
            self._add_problem(problem, where, said)

    def _add_fact(self, line: Mapping[str, Any], where: str) -> None:
        place = " ".join(filter(None, (where, line["place"])))
        kind = line["disposition"]
        if kind != Disposition.KEPT:
            self._note(kind, line.get("reason") or kind, place, _accepted(line.get("accepts")))
        for note in line.get("notes") or ():
            self._note(NOTED, note["code"], place)

    def _add_problem(
        self, problem: Mapping[str, Any], where: str = "", said: Iterable[tuple[str, str | None]] = ()
    ) -> None:
        faults = [each for each in problem.get("errors", ()) if (each["pointer"], each["code"]) not in said]
        for fault in faults:
            place = " ".join(filter(None, (where, fault["pointer"])))
            self._note(Disposition.REFUSED, fault["code"], place, _accepted(fault.get("accepts")))
        if not problem.get("errors"):
            self.problems.append(problem.get("detail") or problem["title"])

    def _propose(self, proposals: Iterable[dict[str, Any]] | None) -> None:
        for proposal in proposals or ():
            same = next((each for each in self.proposals if _same(each, proposal)), None)
            if same is None:
                self.proposals.append(dict(proposal))
            else:
                same["count"] += proposal["count"]

    def _add_fhir(self, document: Mapping[str, Any], sending: Sending) -> None:
        """The answer to a bundle, or an OperationOutcome."""
        if document.get("resourceType") == "OperationOutcome":
            self._add_issues(document, sending, refused=True)
            return
        self.facts.update(_counts_of(document.get("meta", {})))
        for entry in document.get("entry", ()):
            response = entry.get("response", {})
            status = str(response.get("status", ""))[:3]
            self.items["rejected" if status >= "400" else "created" if status == "201" else "accepted"] += 1
            self._add_issues(response.get("outcome", {}), sending, refused=status >= "400")

    def _add_issues(self, outcome: Mapping[str, Any], sending: Sending, *, refused: bool) -> None:
        for issue in outcome.get("issue", ()):
            codings = issue.get("details", {}).get("coding", [])
            by_system = {coding.get("system"): coding for coding in codings}
            proposed = by_system.get("urn:myoresponse:declarations")
            if proposed is not None:
                self._propose(_proposals_in(proposed))
                continue
            place = _in_file((issue.get("expression") or [""])[0], sending)
            if not codings:
                if refused and issue.get("severity") in {"error", "fatal"}:
                    self.problems.append(issue.get("details", {}).get("text") or issue.get("diagnostics", "Refused."))
                continue
            note = by_system.get("urn:myoresponse:notes")
            said = by_system.get("urn:myoresponse:dispositions")
            _, divider, accepts = issue["details"].get("text", "").partition("Accepted: ")
            if note is not None:
                self._note(NOTED, note["code"], place)
            elif said is not None:
                self._note(said["code"], codings[0]["code"], place, f"Accepted: {accepts}" if divider else None)
            elif issue.get("severity") in {"error", "fatal"}:
                accepted = f"Accepted: {accepts}" if divider else None
                self._note(Disposition.REFUSED, codings[0]["code"], place, accepted)

    def _add_acknowledgement(self, text: str) -> None:
        """The acknowledgements of HL7 v2: MSA-3 counts the facts, ERR has the reasons."""
        message = 0
        for segment in re.split(r"[\r\n]+", text):
            fields = segment.split("|")
            if fields[0] == "MSA":
                message += 1
                self.items["accepted" if fields[1:2] == ["AA"] else "rejected"] += 1
                for name, number in _counted_in("|".join(fields[3:4])):
                    self.facts[name] += number
            elif fields[0] == "ERR" and len(fields) > 5:
                self._add_error([*fields, *[""] * 9], message)

    def _add_error(self, fields: list[str], message: int) -> None:
        code = fields[5].partition("^")[0]
        if code == "proposal":
            value = _unescaped(fields[7])
            self._propose([json.loads(value)] if value.startswith("{") else [])
            return
        place = f"message {message}, {fields[2].replace('^', '-')}"
        kind = {"E": Disposition.REFUSED, "W": Disposition.SET_ASIDE}.get(fields[4], NOTED)
        if kind == NOTED and code in NOT_KEPT:
            kind = Disposition.NOT_APPLIED
        _, divider, accepts = _unescaped(fields[8]).partition("Accepted: ")
        self._note(kind, code, place, f"Accepted: {accepts}" if divider else None)


def _accepted(accepts: Mapping[str, Any] | None) -> str | None:
    return None if accepts is None else Accepts.model_validate(accepts).words


def place_in_words(place: str) -> str:
    """A place in a table or a workbook as a person counts it; another place as it is."""
    found = re.fullmatch(r"((?:\S+ )?)(?:/([a-z_]+))?/(\d+)(?:/(\S+))?", place)
    if found is None:
        return place
    whose, sheet, row, column = found.groups()
    if sheet == "sheets":
        return f"{whose}sheet {row}"
    line = f"line {row}" if sheet is None else f"sheet {sheet}, row {row}"
    return f"{whose}{line}" + (f", column {column}" if column else "")


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["declaration"], one["value"]) == (other["declaration"], other["value"])


def _counts_of(meta: Mapping[str, Any]) -> dict[str, int]:
    for extension in meta.get("extension", ()):
        if extension.get("url") == "urn:myoresponse:extension:receipt":
            return {each["url"]: each["valueInteger"] for each in extension["extension"]}
    return {}


def _proposals_in(coding: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for extension in coding.get("extension", ()):
        yield json.loads(extension["valueString"])


def _in_file(place: str, sending: Sending) -> str:
    """A place in a batch that was made of lines, as the line of the file."""
    found = re.match(r"Bundle\.entry\[(\d+)\](?:\.resource)?\.?", place)
    if found is None or not sending.lines:
        return f"line {sending.lines[0]} {place}".strip() if len(sending.lines) == 1 else place
    return f"line {sending.lines[int(found[1])]} {place[found.end() :]}".strip()


_COUNT = re.compile(r"(kept|not applied|set aside|not ours|refused) (\d+)")


def _counted_in(text: str) -> Iterator[tuple[str, int]]:
    for name, number in _COUNT.findall(text):
        yield name.replace(" ", "_"), int(number)


_ESCAPES = {"F": "|", "S": "^", "R": "~", "T": "&", "E": "\\"}


def _unescaped(text: str) -> str:
    return re.sub(r"\\([FSRTE])\\", lambda found: _ESCAPES[found[1]], text)
