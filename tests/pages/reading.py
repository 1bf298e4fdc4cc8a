"""Reads a page as a person does: its words, its tables, its links and its forms."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "input", "br", "img", "path", "hr"}


@dataclass
class Read(HTMLParser):
    """A page that was read."""

    links: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._address: str | None = None
        self._link = self._cell = 0

    @property
    def words(self) -> str:
        """What stands in the main part of the page."""
        return _plain("".join(self.parts))

    def link(self, words: str) -> str:
        """The address of the first link with these words."""
        return next(address for text, address in self.links if text == words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "a":
            self._address, self._link = given.get("href"), len(self.parts)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self._cell = len(self.parts)
        if "name" in given and tag in {"input", "button", "select", "textarea"}:
            self.fields.setdefault(given["name"], []).append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._address is not None:
            self.links.append((_plain("".join(self.parts[self._link :])), self._address))
        if tag in {"td", "th"} and self.rows:
            self.rows[-1].append(_plain("".join(self.parts[self._cell :])))
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "main" in self._open and not {"script", "style"} & {*self._open}:
            self.parts.append(data)


def read(answer: Any) -> Read:
    """A page that was answered."""
    page = Read()
    page.feed(answer.text)
    return page


def _plain(text: str) -> str:
    return " ".join(text.split())
