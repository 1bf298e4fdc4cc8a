"""What a page is: its template, and what it reads of this service to fill it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from app.http.representations import Asked, ServedDocument

Names = Mapping[str, str]
"""The names in the address of a page: the study, the patient."""
PINNED = ("revision", "as_of")
"""The parameters that a link from page to page keeps: they say at which revision the study is seen."""

Part = tuple[str, tuple[tuple[str, str], ...], str | None]
"""A document that a page was made from: its address, its parameters, its ETag."""


class Refused(Exception):
    """A document that a page cannot do without was refused."""

    def __init__(self, document: ServedDocument) -> None:
        self.document = document


@dataclass(slots=True)
class PageReading:
    """Reads documents for one page. What it reads is remembered, so that the page can be kept until one changes."""

    asked: Asked
    parts: list[Part] = field(default_factory=list)

    async def document(self, path: str, query: Sequence[tuple[str, str]] = ()) -> ServedDocument:
        """The document at an address, whatever it says."""
        found = await self.asked.get(path, query)
        self.parts.append((path, tuple(query), found.tag))
        return found

    async def json(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:  # noqa: ANN401 - any JSON
        """The content of a document. Raises `Refused`."""
        found = await self.document(path, query)
        if found.status >= 400:
            raise Refused(found)
        return found.json()

    async def text(self, path: str, query: Sequence[tuple[str, str]] = (), *, of_patients: bool = False) -> str | None:
        """The text of a document that follows from one that the page has read already, such as a chart of an answer;
        `None` if it is refused. A page without one that could not be made just now is not kept. One that shows patients
        (`of_patients`) is asked for each time that the page is shown, so that the audit knows of it.
        """
        found = await self.asked.get(path, query)
        if found.status >= 500 or found.status == 429:
            self.parts.append((path, tuple(query), None))  # it may be there a moment later
        elif of_patients and found.status == 200:
            self.parts.append((path, tuple(query), found.tag))
        return found.body.decode() if found.status == 200 else None

    async def if_allowed(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:  # noqa: ANN401 - any JSON
        """The content of a document, or `None` if it is refused."""
        found = await self.document(path, query)
        return None if found.status >= 400 else found.json()

    @property
    def pinned(self) -> list[tuple[str, str]]:
        """The revision in the address, for the documents of the page."""
        return [(name, value) for name, value in self.asked.query if name in PINNED]


Fill = Callable[[PageReading, Names], Awaitable[dict[str, Any]]]
"""Reads what a page shows, and gives it to the template by name."""


@dataclass(frozen=True, slots=True)
class Page:
    """A designed page. `of` is the template of its address without the suffix."""

    of: str
    template: str
    fill: Fill


async def together(*reading: Awaitable[Any]) -> list[Any]:
    """The results of several readings, which run beside each other."""
    return list(await asyncio.gather(*reading))


def safe_svg(svg: str) -> Markup:
    """A picture that this service drew, to stand in a page as it is."""
    return Markup(svg)  # noqa: S704 - drawn from numbers; each text in it was escaped by the renderer
