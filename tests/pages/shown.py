"""A page as its reader sees it: headings, links, tables and controls, read by the parser of the standard library."""

from html.parser import HTMLParser

_VOID = {"meta", "link", "input", "br", "img", "option"}


class Shown(HTMLParser):
    """What a page shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.links: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.controls: dict[str, dict[str, str]] = {}
        self.words = ""
        self._open: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []
        self._caption = ""
        self.feed(text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        if tag in {"input", "select"} and "name" in given:
            self.controls[given["name"]] = given
        if tag == "table":
            self._caption = ""
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in {"h1", "h2", "h3", "a", "td", "th", "caption", "option"}:
            self._text = []
        if tag not in _VOID:
            self._open.append((tag, given))

    def handle_data(self, data):
        self._text.append(data)
        if not any(tag in {"script", "style", "title"} for tag, _ in self._open):
            self.words += data

    def handle_endtag(self, tag):
        text = " ".join("".join(self._text).split())
        given = next((attributes for name, attributes in reversed(self._open) if name == tag), {})
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(text)
        if tag == "a" and text:
            self.links[text] = given.get("href", "")
        if tag in {"td", "th"}:
            self._rows[-1].append(text)
        if tag == "caption":
            self._caption = text
        if tag == "table":
            self.tables[self._caption] = self._rows
        while self._open and self._open.pop()[0] != tag:
            pass


def shown(client, address: str, status: int = 200) -> Shown:
    """The page at an address."""
    answer = client.get(address)
    assert answer.status_code == status, (address, answer.status_code, answer.text[:300])
    assert answer.headers["content-type"].startswith("text/html")
    return Shown(answer.text)
