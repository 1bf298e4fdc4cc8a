"""Counts what arrives in a study for its intake, and proposes what the study could declare."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.errors import FaultCode, NotFound, ServiceError
from app.readers.pseudonyms import Pseudonyms
from app.readers.suggestions import Proposal, charset_like, unit_like
from app.store import intake
from app.store.engine import Database
from app.store.intake import OTHER, Arrival, ArrivalCount
from app.store.studies import FeedDefinition, get_study, study_key
from app.timeline.facts import History
from app.timeline.receipts import Disposition, NoteCode, Receipt, ReceiptLine

NOTED, AUTHORITY, UNIT, CHARSET, RESULT_TIME = "noted", "authority", "unit", "charset", "result_time"
"""The subjects of counts that are not dispositions."""
_WITHOUT_ZONE = frozenset({FaultCode.NO_OFFSET, NoteCode.ZONE_FROM_MESSAGE})
_NATIVE = "native-"
"""How the formats begin in which a time always needs its offset, whatever the study declares."""
WAIT = 10.0
"""Seconds that a rehearsal waits for refusals that are about to be counted."""
_SEVERAL_TIMES = "]-14"
"""The end of the place of a result in HL7 v2 whose order has several times in OBX-14."""


def count_arrived(
    counts: Counter[Arrival], history: History, receipt: Receipt, format: str, sender: str | None
) -> None:
    """Add the receipt of a history to the counts. Without a `sender`, the source of each fact is its sender.

    An empty history is used for a receipt of facts that belong to no history.
    """
    sources = _sources(history) if sender is None else {}
    usual = sender or next(filter(None, sources), "")
    others = {source: count for source, count in sources.items() if source and source != usual}
    aside = {id(line) for line in history.aside}
    for line in receipt.lines:
        whom: str = sender or (line.sent and line.sent.source) or usual
        if line.disposition is not Disposition.KEPT:
            counts.update(_of_line(line, whom, format))
            if whom in others and id(line) not in aside:
                others[whom] -= 1
        for note in line.notes:
            if note.code is not NoteCode.UNCHANGED:
                counts[Arrival(whom, format, NOTED, note.code)] += 1
    kept = receipt.counts[Disposition.KEPT]
    for whom, count in others.items():
        if count:
            counts[Arrival(whom, format, Disposition.KEPT)] += count
            kept -= count
    if kept:
        counts[Arrival(usual, format, Disposition.KEPT)] += kept


def _sources(history: History) -> dict[str | None, int]:
    """The number of facts of each source."""
    return Counter(fact.source for _, facts in history.kinds() for fact in facts)


def _of_line(line: ReceiptLine, sender: str, format: str) -> Iterator[Arrival]:
    """What the line of a fact that is not kept counts."""
    code, suggests = "", None
    if line.sent is not None and line.disposition is Disposition.NOT_OURS:
        code, suggests = line.sent.word or "", line.sent.suggests
    yield Arrival(sender, format, line.disposition, line.reason or "", code, suggests)
    unit = line.sent.unit if line.sent is not None and line.reason == FaultCode.UNKNOWN_UNIT else None
    if unit is not None and (alike := unit_like(unit)) is not None:
        yield Arrival(sender, format, UNIT, "", unit, alike)
    if line.reason == FaultCode.REPEATED_VALUE and line.place.endswith(_SEVERAL_TIMES):
        yield Arrival(sender, format, RESULT_TIME)


def suggested(receipt: Receipt, format: str, sender: str | None) -> Counter[Arrival]:
    """What the study could declare so that the facts of the receipt of a refusal count; not the facts themselves."""
    found = Counter[Arrival]()
    count_arrived(found, History(""), receipt, format, sender)
    return Counter({
        arrival: count
        for arrival, count in found.items()
        if arrival.subject in {UNIT, RESULT_TIME} or arrival.suggests is not None
    })  # fmt: skip


def authorities(pseudonyms: Pseudonyms, format: str, sender: str | None) -> Counter[Arrival]:
    """The counts of the authorities of patients' identifiers that the study has not declared."""
    seen = pseudonyms.take_undeclared()
    return Counter({Arrival(sender or "", format, AUTHORITY, "", name): count for name, count in seen.items()})


def refused(refusals: Iterable[ServiceError], format: str, sender: str | None) -> Counter[Arrival]:
    """The counts of refusals: each counts once for each of its codes."""
    return Counter(
        Arrival(sender or "", format, Disposition.REFUSED, code)
        for refusal in refusals
        for code in ({str(fault.code) for fault in refusal.faults} or {refusal.slug})
    )


def unknown_charset(name: str, format: str, sender: str | None) -> Counter[Arrival]:
    """The count of a character set that is not known, if it resembles one that is."""
    alike = charset_like(name)
    return Counter() if alike is None else Counter({Arrival(sender or "", format, CHARSET, "", name, alike): 1})


def count_later(database: Database, study: str, counts: Counter[Arrival], now: int) -> None:
    """Add to the counts in a separate transaction, soon, without making anybody wait."""
    if counts:
        database.later(lambda transaction: intake.add(transaction, study, counts, now))


def proposed_in_rehearsal(store: Database, study: str) -> list[Proposal]:
    """What the study could declare so that more of what was rehearsed would count; nothing for a write that is stored.

    An unknown study declares nothing.
    """
    if store.origin is None:
        return []
    store.settle(WAIT)
    try:
        with store.reading() as transaction:
            declared = get_study(transaction, study)
            counts = intake.counts_of(transaction, study_key(transaction, study))
    except NotFound:
        return []
    return proposals(counts, declared.feeds, declared.time_zone)


def proposals(counts: Sequence[ArrivalCount], declared: FeedDefinition, zone: str | None) -> list[Proposal]:
    """What the study could declare so that more of what arrives counts, without what it declares already."""
    found: dict[tuple[str, str], tuple[Any, int]] = {}

    def propose(declaration: str, name: str, value: Any, count: int) -> None:  # noqa: ANN401 - JSON
        found[declaration, name] = value, found.get((declaration, name), (None, 0))[1] + count

    for (_, format, subject, reason, code, suggests), count, _, _ in counts:
        if subject == Disposition.NOT_OURS and suggests is not None:
            propose("local_codes", code, {code: suggests}, count)
        elif subject == UNIT:
            propose("unit_aliases", code, {code: suggests}, count)
        elif subject == CHARSET:
            propose("charsets", code, {code: suggests}, count)
        elif subject == AUTHORITY and reason != OTHER:
            propose("authorities", code, [code], count)
        elif reason in _WITHOUT_ZONE and zone is None and not format.startswith(_NATIVE):
            propose("time_zone", "", None, count)
        elif subject == RESULT_TIME and declared.result_time != "OBX-14":
            propose("result_time", "", "OBX-14", count)
    known = asdict(declared)
    return [
        Proposal(declaration, value, count)
        for (declaration, name), (value, count) in sorted(found.items())
        if not name or name not in known[declaration]
    ]
