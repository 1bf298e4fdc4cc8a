"""The report of a study: what it says is one list of blocks, which the page, the printed PDF and Markdown show alike.

The blocks come from documents of this service alone: the report, the protocol, the charts. So the same revision gives
the same bytes. Each table and each figure carries the address at which it can be checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from app.http.representations import origin_of
from app.pages.definitions import in_words, label_in_words, parts_of
from app.pages.page import Names, Page, PageReading, Refused, together
from app.pages.strobe import strobe_items
from app.pages.wording import NO_FIGURE, count, day, level_text, words

CHARTS = (
    "flow", "weekly-change", "ck-change", "response-forest", "ck-normal-time", "improvement-score", "steroid-sparing",
    "adverse-events", "without-effect",
)  # fmt: skip
"""The charts of the report. None of them shows a single patient."""
_DECLARED = {"improvement-score": "improvement_score", "steroid-sparing": "steroid_sparing"}
"""Charts that the report has only if the protocol declares a part."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading."""

    title: str
    kind: str = "section"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "items"


@dataclass(frozen=True, slots=True)
class Terms:
    """Names with what belongs to each."""

    terms: tuple[tuple[str, str], ...]
    kind: str = "terms"


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """A table with its caption. The first column names the rows; a row with one cell is the heading of those below.
    `check` is the address that gives its figures.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    check: str | None = None
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as SVG, which carries its alternative text; `check` is the address that draws it."""

    caption: str
    svg: Markup
    check: str
    kind: str = "picture"


Block = Section | Text | Items | Terms | PrintedTable | Picture


@dataclass(frozen=True, slots=True)
class PrintedReport:
    """What the report of a study says."""

    title: str
    study: str
    revision: int
    as_of: str
    cite: str
    address: str
    blocks: tuple[Block, ...]
    data: bytes
    """The answer that the figures are from, as JSON."""

    @property
    def embedded(self) -> Markup:
        """The same, to stand in a page: nothing in it ends the element that it stands in."""
        return Markup(self.data.decode().replace("<", "\\u003c"))  # noqa: S704 - no `<` is left


async def read_report(reading: PageReading, study: str) -> PrintedReport:
    """The report of a study at the revision that is asked for, with the options of the report."""
    asked, home = reading.asked, f"/v1/studies/{study}"
    origin = origin_of(asked.scope)
    found = await reading.document(f"{home}/analyses", asked.query)
    if found.status >= 400:
        raise Refused(found)
    answer = found.json()
    pinned = [("revision", str(answer["revision"]))]
    about, protocol = await together(reading.json(home), reading.json(f"{home}/protocol", pinned))
    names = [name for name in CHARTS if _is_reported(name, answer, protocol)]
    svgs = await together(*(reading.text(f"{home}/charts/{name}.svg", [*pinned, *_WIDE]) for name in names))
    drawn = {name: svg for name, svg in zip(names, svgs, strict=True) if svg is not None}
    options = [each for each in asked.query if each[0] not in {"revision", "as_of"}]
    address = f"{origin}{home}/report?{urlencode([*options, *pinned])}"
    return PrintedReport(
        title=about["name"],
        study=study,
        revision=answer["revision"],
        as_of=answer["as_of"],
        cite=_citation(about["name"], answer, address),
        address=address,
        blocks=tuple(_blocks(answer, protocol, drawn, f"{origin}{home}")),
        data=found.body,
    )


_WIDE = (("width", "wide"),)


def _is_reported(chart: str, answer: Mapping[str, Any], protocol: Mapping[str, Any]) -> bool:
    """Whether the report has what a chart shows. To draw `without-effect` of a large study takes minutes."""
    if chart == "without-effect":
        return any("nothing" in part for part in answer["analyses"].values())
    return chart not in _DECLARED or bool(protocol.get(_DECLARED[chart]))


def _citation(name: str, answer: Mapping[str, Any], address: str) -> str:
    made = answer["provenance"]
    return (
        f"{name}. Revision {answer['revision']} of {day(answer['as_of'])}, protocol {made['protocol_id']}. "
        f"Computed by {made['software']}. {address}"
    )


def _blocks(
    answer: Mapping[str, Any], protocol: Mapping[str, Any], drawn: Mapping[str, str], home: str
) -> Iterator[Block]:
    def check(path: str) -> str:
        return f"{home}/{path}{'&' if '?' in path else '?'}revision={answer['revision']}"

    def pictures(*names: str) -> Iterator[Block]:
        for name in names:
            if name in drawn:
                yield Picture(words(name), Markup(drawn[name]), check(f"charts/{name}.svg"))  # noqa: S704 - our own SVG

    analyses = {name: in_words(part) for name, part in answer["analyses"].items()}
    yield from _summary(answer["populations"], analyses)
    yield Section("Patients")
    yield Text(_populations(answer["populations"]))
    yield _flow(answer["flow"], check("analyses"))
    yield from pictures("flow")
    yield Section("Definitions")
    yield Text(f"The protocol is {answer['provenance']['protocol_id']}. {_changed(answer)}")
    for title, sentences in parts_of(protocol):
        yield Terms(((title, " ".join(sentences)),))
    yield Section("Baseline")
    yield _table_one(analyses["baseline-table"]["table"], check("analyses/baseline-table"))
    yield Section("Outcomes")
    yield _table_two(answer["outcomes"], analyses, check("analyses"))
    yield from pictures("weekly-change", "ck-change", "response-forest", "ck-normal-time", *_DECLARED)
    yield Section("Safety")
    yield from _safety(analyses["adverse-reactions"], check("analyses/adverse-reactions"))
    yield from pictures("adverse-events")
    yield Section("What can be said, and what guards it")
    yield from _claims(analyses)
    yield from pictures("without-effect")
    yield Section("Limits")
    yield Items(tuple(dict.fromkeys(_caveats(analyses))))
    yield Section("Methods")
    yield from _methods(analyses)
    yield Section("Who was left out")
    yield from _left_out(analyses, check("analyses"))
    yield Section("Checklist for a paper (STROBE)")
    yield PrintedTable("What this report gives for each item", ("Item", "Where"), strobe_items())
    yield Section("Provenance")
    yield _provenance(answer)


def _summary(populations: Mapping[str, int], analyses: Mapping[str, Any]) -> Iterator[Block]:
    if populations["safety"] == 0:
        yield Text("No treated patient is in this study yet, so that nothing can be computed.")
        return
    yield Section("In short")
    yield Items(tuple(_first_claims(analyses)) or ("The data support no conclusion.",))


def _first_claims(analyses: Mapping[str, Any]) -> Iterator[str]:
    """The first supported claim of each kind, in the order of the questions."""
    seen = {"description"}
    for part in analyses.values():
        for claim in part["claims"]:
            kind = f"{claim['code']} {claim.get('measure')}"
            if claim["supported"] and claim["code"] != "description" and kind not in seen:
                seen.add(kind)
                yield claim["text"]


def _populations(populations: Mapping[str, int]) -> str:
    return (
        f"{count(populations['all'], 'patient')} in the study. {populations['safety']} of them were treated (safety "
        f"population), and {populations['efficacy']} can be judged (efficacy population)."
    )


def _flow(steps: Sequence[Mapping[str, Any]], check: str) -> PrintedTable:
    rows = tuple(
        (
            words(step["step"].replace(":", ": ")),
            str(step["n"]),
            "; ".join(f"{each['count']} {words(each['reason']).lower()}" for each in step["reasons"]) or NO_FIGURE,
        )
        for step in steps
    )
    return PrintedTable("Flow of patients", ("Step", "n", "Left out, by reason"), rows, check)


def _changed(answer: Mapping[str, Any]) -> str:
    made = answer["provenance"]
    changed = (
        "It was declared or changed after the first outcome had arrived."
        if made["protocol_changed_after_first_outcome"]
        else "It was declared before the first outcome arrived."
    )
    differs = " It has the name of a preset and other definitions." if made.get("differs_from_preset") else ""
    return changed + differs


def _table_one(table: Mapping[str, Any], check: str) -> PrintedTable:
    columns = ("", *(column["label"] for column in table["columns"]))
    rows: list[tuple[str, ...]] = []
    section = None
    for row in table["rows"]:
        if row["section"] != section:
            section = row["section"]
            rows.append((words(section),))
        rows.append((row["label"], *row["cells"]))
    return PrintedTable("Table 1. Patients at baseline", columns, tuple(rows), check)


def _table_two(table: Mapping[str, Any], analyses: Mapping[str, Any], check: str) -> PrintedTable:
    columns, level = [""], level_text(next(iter(analyses.values()))["level"])
    for column in table["columns"]:
        prefix = "" if len(table["columns"]) == 1 else f"{column['label']}: "
        columns += [f"{prefix}n", f"{prefix}Estimate", f"{prefix}{level} CI", f"{prefix}p"]
    rows = []
    for row in table["rows"]:
        cells = [label_in_words(row["label"], analyses[row["analysis"]])]
        for cell in row["cells"]:
            cells += [cell["text"][name] for name in ("n", "estimate", "interval", "p")]
        rows.append(tuple(cells))
    return PrintedTable("Table 2. Outcomes", tuple(columns), tuple(rows), check)


def _safety(part: Mapping[str, Any], check: str) -> Iterator[Block]:
    for result in part["results"]:
        group = "" if not result.get("group") else f" ({', '.join(map(str, result['group'].values()))})"
        terms = tuple((row["term"], str(row["patients"]), str(row["events"])) for row in result["by_term"])
        if terms:
            yield PrintedTable(f"Adverse events by term{group}", ("Term", "Patients", "Events"), terms, check)
        else:
            yield Text(f"No adverse event was reported{group}.")


def _claims(analyses: Mapping[str, Any]) -> Iterator[Block]:
    for name, part in analyses.items():
        rows = tuple(
            (
                claim["text"],
                "supported" if claim["supported"] else "not supported",
                ", ".join(words(each).lower() for each in claim["because"]),
            )
            for claim in part["claims"]
            if claim["code"] != "description"
        )
        if rows:
            yield PrintedTable(words(name), ("Claim", "", "Because"), rows)


def _caveats(analyses: Mapping[str, Any]) -> Iterator[str]:
    for part in analyses.values():
        for caveat in part["caveats"]:
            if caveat["applies"]:
                yield caveat["text"]


def _methods(analyses: Mapping[str, Any]) -> Iterator[Block]:
    some = next(iter(analyses.values()))
    conventions = tuple((words(name), words(str(given)).lower()) for name, given in some["conventions"].items())
    yield Terms((("Confidence level", level_text(some["level"])), *conventions))
    yield Items(tuple(f"{words(name)}: {part['multiplicity']['text']}" for name, part in analyses.items()))


def _left_out(analyses: Mapping[str, Any], check: str) -> Iterator[Block]:
    rows = tuple(
        (words(name), words(each["reason"]), str(each.get("measure", NO_FIGURE)), str(each["count"]))
        for name, part in analyses.items()
        for each in part["excluded"]
        if each["count"]
    )
    if rows:
        columns = ("Question", "Reason", "Measure", "Patients")
        yield PrintedTable("Patients who are in no figure, by reason", columns, tuple(dict.fromkeys(rows)), check)
    else:
        yield Text("Nobody was left out.")


def _provenance(answer: Mapping[str, Any]) -> Terms:
    made = answer["provenance"]
    return Terms(
        (
            ("Study", answer["study"]),
            ("Revision", f"{answer['revision']}, received {answer['as_of']}"),
            ("Protocol", f"{made['protocol_id']}, {made['protocol']}"),
            ("Data", made["data"]),
            ("Software", made["software"]),
            ("Libraries", ", ".join(f"{name} {version}" for name, version in made["libraries"].items())),
            ("Commit", made["commit"] or "not known"),
        )
    )


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    return {"report": await read_report(reading, names["study"])}


PAGES = (Page("/v1/studies/{study}/report", "report.html", _fill),)
