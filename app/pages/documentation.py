"""The documentation as a site: each Markdown file is a page, with the contents beside it and a search over all.

The files are read as they stand on a code host: their links between each other work there and here. `docs/index.md`
is the contents: its second-level headings are the groups, and its lists the pages.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from pathlib import Path as File
from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import Path, Query, Request, Response
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

import app
from app.errors import NotFound
from app.http.routing import Operations
from app.pages.routes import asked_of
from app.pages.site import answered

router = Operations(include_in_schema=False)
_PACKAGE = File(app.__file__).resolve().parent
DOCS = next(folder for folder in (_PACKAGE / "docs", _PACKAGE.parent / "docs") if folder.is_dir())
"""The directory of the documentation: inside the package where it is installed, next to it in a checkout."""
ABOVE = ("README.md", "SECURITY.md", "CHANGELOG.md")
"""Files at the top of a checkout that are pages, too. In a package they are in the directory of the documentation."""
_PLACES = {"openapi.yaml": "/openapi.yaml", "docs/api": "/docs/api"}
"""Files that links name and that this service has at another address."""
MOST_FOUND = 30
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class PageHeading:
    """A heading of a page: its level, its words and its anchor."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What stands below one heading, for the search."""

    heading: PageHeading
    text: str


@dataclass(frozen=True, slots=True)
class DocumentationPage:
    """One Markdown file as a page. `html` has its links relative to the root of the service (`{root}`)."""

    name: str
    title: str
    html: str
    headings: tuple[PageHeading, ...]
    passages: tuple[Passage, ...]


@cache
def files() -> dict[str, File]:
    """The files of the documentation by the name of their page."""
    found = {file.stem.lower(): file for file in sorted(DOCS.glob("*.md"))}
    for name in ABOVE:
        file = DOCS.parent / name
        if file.is_file():
            found[file.stem.lower()] = file
    return found


@cache
def page_of(name: str) -> DocumentationPage:
    """The page of a file. Raises `NotFound`."""
    file = files().get(name)
    if file is None:
        raise NotFound("There is no such page. The contents of the documentation are at /docs.")
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(file.read_text(encoding="utf-8"))
    headings = tuple(_named(tokens))
    within = "" if file.name in ABOVE else "docs"
    for token in tokens:
        _linked(token, within)
    _in_frames(tokens)
    title = next((each.text for each in headings if each.level == 1), name)
    html: str = parser.renderer.render(tokens, parser.options, {})
    return DocumentationPage(name, title, html, headings, tuple(_passages(tokens, headings)))


def _named(tokens: Sequence[Token]) -> Iterator[PageHeading]:
    """Give each heading the anchor that code hosts give it."""
    seen: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        text = _words_in(tokens[place + 1])
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = seen.get(anchor, 0)
        seen[anchor] = again + 1
        heading = PageHeading(int(token.tag[1]), text, f"{anchor}-{again}" if again else anchor)
        token.attrSet("id", heading.anchor)
        yield heading


def _words_in(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})


def _linked(token: Token, within: str) -> None:
    """Let links lead to pages of this service; a file that it does not have is named and not linked."""
    open_links: list[str | None] = []
    for child in token.children or ():
        if child.type == "link_open":
            to = address_of(str(child.attrGet("href") or ""), within)
            open_links.append(to)
            if to is None:
                child.tag = "span"
                child.attrs = {}
            else:
                child.attrSet("href", to)
        elif child.type == "link_close" and open_links.pop() is None:
            child.tag = "span"
        elif child.type == "html_inline":
            _as_text(child, "text")
    if token.type == "html_block":
        _as_text(token, "html_block")


def _as_text(token: Token, kind: str) -> None:
    """A comment is left out, and every other element is shown as it was written."""
    comment = token.content.strip().startswith("<!--")
    token.type = kind
    token.content = "" if comment else (token.content if kind == "text" else escape(token.content))


def address_of(link: str, within: str) -> str | None:
    """The address to which a link of a file in the directory `within` leads; `None` if nothing here is there."""
    split = urlsplit(link)
    if split.scheme or split.netloc or not split.path:
        return link
    path = posixpath.normpath(posixpath.join(within, split.path))
    fragment = f"#{split.fragment}" if split.fragment else ""
    if path in _PLACES:
        return f"{{root}}{_PLACES[path]}{fragment}"
    folder, _, file = path.rpartition("/")
    name = file.removesuffix(".md").lower()
    known = file.endswith(".md") and name in files() and (folder == "docs" or file in ABOVE)
    if not known:
        return None
    return f"{{root}}/docs{'' if name == 'index' else f'/{name}'}{fragment}"


def _in_frames(tokens: list[Token]) -> None:
    """A table and a block of code can be wider than the page: each scrolls by itself, also by the keyboard."""
    for place in range(len(tokens) - 1, -1, -1):
        token = tokens[place]
        if token.type == "table_open":
            frame = Token("frame_open", "div", 1, block=True)
            frame.attrs = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
            tokens.insert(place, frame)
        elif token.type == "table_close":
            tokens.insert(place + 1, Token("frame_close", "div", -1, block=True))
        elif token.type == "th_open":
            token.attrSet("scope", "col")


def _passages(tokens: Sequence[Token], headings: Sequence[PageHeading]) -> Iterator[Passage]:
    following = iter(headings)
    heading: PageHeading | None = None
    text: list[str] = []
    for token in tokens:
        if token.type == "heading_open":
            if heading is not None:
                yield Passage(heading, " ".join(text))
            heading, text = next(following), []
        elif token.type == "inline":
            text.append(_words_in(token))
        elif token.type in {"fence", "code_block"}:
            text.append(token.content)
    if heading is not None:
        yield Passage(heading, " ".join(text))


@dataclass(frozen=True, slots=True)
class ContentsEntry:
    """A page in the contents: its address without the root, and its title there."""

    name: str
    address: str
    title: str


@cache
def contents() -> tuple[tuple[str, tuple[ContentsEntry, ...]], ...]:
    """The groups of pages, as `index.md` has them."""
    groups: list[tuple[str, list[ContentsEntry]]] = []
    tokens = MarkdownIt("commonmark").parse(files()["index"].read_text(encoding="utf-8"))
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            groups.append((_words_in(tokens[place + 1]), []))
        elif token.type == "inline" and tokens[place - 2].type == "list_item_open":
            groups[-1][1].extend(_first_link(token))
    return tuple((title, tuple(entries)) for title, entries in groups)


def _first_link(inline: Token) -> Iterator[ContentsEntry]:
    children = inline.children or []
    for place, child in enumerate(children):
        if child.type == "link_open":
            to = address_of(str(child.attrGet("href")), "docs") or ""
            address = to.removeprefix("{root}")
            yield ContentsEntry(address.rpartition("/")[2], address, children[place + 1].content)
            return


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a search found."""

    address: str
    page: str
    heading: str
    excerpt: str


def search(query: str) -> list[Found]:
    """The passages that have every word of a query; those whose heading has them come first."""
    wanted = [word.lower() for word in _WORD.findall(query)][:10]
    if not wanted:
        return []
    ranked: list[tuple[int, int, Found]] = []
    for name in files():
        page = page_of(name)
        for passage in page.passages:
            heading, text = passage.heading.text.lower(), passage.text.lower()
            if not all(word in heading or word in text for word in wanted):
                continue
            score = sum((word in heading) * 3 + (word in page.title.lower()) * 2 for word in wanted)
            address = "/docs" if name == "index" else f"/docs/{name}"
            anchor = f"#{passage.heading.anchor}" if passage.heading.level > 1 else ""
            excerpt = _excerpt(passage.text, wanted)
            found = Found(f"{address}{anchor}", page.title, passage.heading.text, excerpt)
            ranked.append((-score, len(ranked), found))
    return [found for _, _, found in sorted(ranked)[:MOST_FOUND]]


def _excerpt(text: str, wanted: Sequence[str]) -> str:
    """A few words around the first one that was looked for."""
    at = min((place for word in wanted if (place := text.lower().find(word)) >= 0), default=0)
    begin = max(at - 80, 0)
    cut = text[begin : at + 160]
    return f"{'…' if begin else ''}{cut}{'…' if at + 160 < len(text) else ''}"


async def _shown(request: Request, page: DocumentationPage | None, query: str = "", **more: Any) -> Response:  # noqa: ANN401
    asked = asked_of(request)
    asked.caller, asked.session = request.state.caller, getattr(request.state, "session", None)
    root = escape(asked.root)
    shown = {
        "page": page,
        "body": Markup("") if page is None else Markup(page.html.replace("{root}", root)),  # noqa: S704 - our own files
        "contents": contents(),
        "looked_for": query,
        "found": None,
    }
    return await answered(asked, "documentation.html", {}, shown | more)


@router.get("/docs")
async def documentation_contents(request: Request) -> Response:
    """The contents of the documentation."""
    return await _shown(request, await run_sync(page_of, "index"))


@router.get("/docs/search")
async def documentation_search(request: Request, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """What a search finds in the documentation."""
    return await _shown(request, None, q, found=await run_sync(partial(search, q)))


@router.get("/docs/{name}")
async def documentation_page(request: Request, name: Annotated[str, Path(max_length=64)]) -> Response:
    """One page of the documentation."""
    return await _shown(request, await run_sync(page_of, name))
