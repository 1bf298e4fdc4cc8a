"""Receipts as JSON: their models for the description of the API, and the documents."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from app.errors import Accepts
from app.timeline.receipts import Disposition, Note, NoteCode, Receipt, ReceiptLine, ShortReceipts


class ReceiptNote(BaseModel):
    """A note about a fact that is kept."""

    code: NoteCode = Field(description="What is to be noted (docs/codes.md).", examples=["no_upper_limit"])
    about: str | None = Field(default=None, description="The detail, rule or field.", examples=["upper_limit"])


class ReceiptEffect(BaseModel):
    """Another fact that counts or no longer counts because of this one."""

    section: str = Field(description="Its section of the timeline.", examples=["labs"])
    code: str | None = Field(default=None, description="Its code.", examples=["CK"])
    time: str | None = Field(default=None, description="Its time as written.", examples=["2005-03-16"])
    stands: bool = Field(description="Whether it counts now.", examples=[False])


class ReceiptItem(BaseModel):
    """One fact that was sent."""

    place: str = Field(description="Where it stands in what was sent.", examples=["/labs/0"])
    disposition: Disposition = Field(description="What happened to it.", examples=["kept"])
    reason: str | None = Field(default=None, description="Why it is not kept (docs/codes.md).", examples=["stale"])
    notes: list[ReceiptNote] | None = Field(default=None, description="What is to be noted.", examples=[None])
    affects: list[ReceiptEffect] | None = Field(default=None, description="Other facts.", examples=[None])
    accepts: Accepts | None = Field(default=None, description="What its place accepts.", examples=[None])


class NotListed(BaseModel):
    """What the receipts of an answer count and do not list."""

    lines: int = Field(
        description="Number of lines that are not listed: of facts that are kept, and of new patients.",
        examples=[249_000],
    )
    notes: dict[NoteCode, int] = Field(
        description="How many of them have each note.", examples=[{"no_upper_limit": 249_000}]
    )
    listed_with: Literal["receipt=full"] = Field(
        description="With this parameter, the same sent again is answered with all of them.", examples=["receipt=full"]
    )


Short = Annotated[
    NotListed | None,
    Field(
        description="What the receipts do not list, if anything: after a thousand lines of an answer about facts that "
        "are kept with the same notes, further ones are counted. Notes that a second sending would not have, and all "
        "that is not kept, are always listed.",
        examples=[None],
    ),
]
FACTS_EXAMPLE = {"kept": 101, "not_applied": 0, "set_aside": 0, "not_ours": 0, "refused": 0}


class ReceiptBody(BaseModel):
    """What happened to each fact that was sent."""

    counts: dict[Disposition, int] = Field(
        description="Facts by disposition.",
        examples=[FACTS_EXAMPLE],
    )
    lines: list[ReceiptItem] = Field(
        description="Each fact that is not plainly kept, but for `short`; with `receipt=full` each fact.",
        examples=[[{"place": "/labs/0", "disposition": "kept", "notes": [{"code": "no_upper_limit"}]}]],
    )
    short: int | None = Field(
        default=None, description="Number of lines that are not listed, if any: see `short`.", examples=[None]
    )


_NAMES = tuple((disposition, disposition.value) for disposition in Disposition)


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """A receipt as a JSON object."""
    return long_receipt(receipt) | {"lines": [_line(line) for line in receipt.lines]}


def long_receipt(receipt: Receipt) -> dict[str, Any]:
    """The same, to be written once: its lines are made when they are written, because all need much memory."""
    return {
        "counts": facts_document(receipt.counts),
        "lines": (_line(line) for line in receipt.lines),
    } | ({"short": receipt.short} if receipt.short else {})


def short_document(short: ShortReceipts) -> dict[str, Any]:
    """What the receipts of an answer do not list, as a member of the answer; nothing if they list everything."""
    if not short.lines:
        return {}
    notes = {code.value: short.notes[code] for code in NoteCode if short.notes[code]}
    return {"short": {"lines": short.lines, "notes": notes, "listed_with": "receipt=full"}}


def facts_document(counts: Mapping[Disposition, int]) -> dict[str, int]:
    """Numbers of facts by disposition as a JSON object."""
    return {name: counts.get(disposition, 0) for disposition, name in _NAMES}


def _line(line: ReceiptLine) -> dict[str, Any]:
    document: dict[str, Any] = {"place": line.place, "disposition": line.disposition.value}
    if line.reason is not None:
        document["reason"] = line.reason
    if line.notes:
        document["notes"] = notes_document(line.notes)
    if line.affects:
        document["affects"] = [
            {name: value for name, value in effect._asdict().items() if value is not None} for effect in line.affects
        ]
    if line.accepts is not None:
        document["accepts"] = line.accepts.model_dump(mode="json")
    return document


@lru_cache(maxsize=256)
def notes_document(notes: tuple[Note, ...]) -> list[dict[str, str]]:
    """Notes as a JSON array."""
    return [{"code": note.code} if note.about is None else {"code": note.code, "about": note.about} for note in notes]


ReceiptWanted = Annotated[
    Literal["full"] | None,
    Query(alias="receipt", description="`full`: the receipt lists every fact.", examples=["full"]),
]
