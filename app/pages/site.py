"""The site: which page belongs to an address, and how it is made, kept and sent."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send
from starlette.types import Scope as ScopeOf

from app import __version__
from app.access.callers import LOCAL, STRANGER, Scope
from app.errors import ServiceError, TooLarge
from app.http.addresses import path_of
from app.http.authentication import who_is_asked
from app.http.problems import problem
from app.http.representations import Asked, Representation, ServedDocument
from app.http.responses import etag_from, matches
from app.pages import (
    any_answer,
    home,
    intake,
    labels,
    ledger,
    lists,
    overview,
    patients,
    plan,
    protocols,
    question,
    questions,
    report,
    verify_figure,
)
from app.pages.page import PINNED, Names, Page, PageReading, Refused, together
from app.pages.wording import FILTERS, count

HTML = "text/html"
HERE = Path(__file__).parent
FILES = HERE / "files"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ROOMS = (
    home, overview, questions, question, patients, protocols, intake, ledger, lists, verify_figure, plan, report,
)  # fmt: skip
PAGES: tuple[Page, ...] = tuple(page for room in _ROOMS for page in room.PAGES)
"""The designed pages; every other answer is shown field by field."""
_MENU = (
    ("", "Overview"),
    ("/analyses", "Questions"),
    ("/patients", "Patients"),
    ("/protocol", "Protocol"),
    ("/intake", "Add data"),
    ("/revisions", "Revisions"),
    ("/report", "Report"),
)
"""The pages of a study."""


@cache
def file_digest() -> str:
    """The digest of the style and the scripts; it stands in their addresses, so that they can be kept for ever."""
    whole = hashlib.sha256()
    for file in sorted(FILES.rglob("*")):
        if file.is_file():
            whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()[:16]


@cache
def made_by() -> str:
    """The digest of everything of this room that a page is made with."""
    whole = hashlib.sha256(file_digest().encode())
    for file in sorted([*HERE.rglob("*.html"), *HERE.rglob("*.md"), *HERE.rglob("*.py")]):
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


@cache
def environment() -> Environment:
    """The templates. Every text is escaped; a name that a page does not have is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, disabled_extensions=("md",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS | labels.FILTERS)
    made.globals.update(count=count, version=__version__)
    return made


class Site:
    """Shows documents as pages."""

    def __init__(self, pages: Iterable[Page] = PAGES) -> None:
        self._pages = [(_pattern(page.of), page) for page in pages]

    @property
    def representation(self) -> Representation:
        """For the table of `main`."""
        return Representation(HTML, self.show)

    async def show(self, asked: Asked) -> Response:
        """The page of an address. If nothing that it shows has changed, the page of before."""
        place = f"{asked.path}?{urlencode(asked.query)}"
        if_none_match = ",".join(Headers(scope=asked.scope).getlist("if-none-match")) or None
        page, names = self._page(asked.path)
        erasures = asked.state.answers.erasures(names.get("study", ""))
        kept = await self._kept(asked, place)
        if kept is not None:
            if "study" in names:
                asked.stands(names["study"], erasures)
            return _reply(*kept, if_none_match)
        reading = PageReading(asked)
        try:
            shown = await page.fill(reading, names)
        except Refused as refused:
            if refused.document.status == 404 and (passed := await _itself(asked)) is not None:
                return passed
            return await fault_page(asked, refused.document, names)
        if "redirect" in shown:
            return Response(status_code=303, headers={"Location": str(shown["redirect"])})
        if "file" in shown:
            found: ServedDocument = shown["file"]
            return Response(found.body, found.status, dict(found.headers))
        body = await run_sync(partial(written, asked, page.template, names, shown))
        tags = [tag for _, _, tag in reading.parts]
        key = _key(asked, place, tags) if tags and None not in tags else None
        if key is not None:
            entry = to_json([key, reading.parts]) + b"\n" + body
            asked.state.answers.keep(names.get("study", ""), _who_asked(asked, place), entry, erasures)
        status = int(shown.get("status", 200))
        tag = key or etag_from("page", place, hashlib.sha256(body).hexdigest())
        return _reply(body, status, tag if status == 200 else None, if_none_match)

    async def _kept(self, asked: Asked, place: str) -> tuple[bytes, int, str] | None:
        """The page of before with its status and ETag, if every document that it shows is still the same. It is kept
        together with what it was made from, so that an erasure drops both.
        """
        entry = asked.state.answers.get(_who_asked(asked, place))
        if entry is None:
            return None
        line, _, body = entry.partition(b"\n")
        key, read = from_json(line)
        parts = [(path, [(name, value) for name, value in query], tag) for path, query, tag in read]
        first, *others = parts  # the first one is counted by the rate of the caller, and the others are not
        if (await asked.get(*first)).status != 304:
            return None
        if any(found.status != 304 for found in await together(*(asked.get(*part) for part in others))):
            return None
        return (body, 200, key) if key == _key(asked, place, [tag for _, _, tag in parts]) else None

    def _page(self, path: str) -> tuple[Page, Names]:
        for pattern, page in self._pages:
            if (found := pattern.fullmatch(path)) is not None:
                return page, found.groupdict()
        study = re.match(r"/v1/studies/([^/]+)", path)
        return any_answer.PAGE, {} if study is None else {"study": study[1]}


def written(asked: Asked, template: str, names: Names, shown: Mapping[str, Any]) -> bytes:
    """A page as it is sent."""
    return environment().get_template(template).render(frame(asked, names) | dict(shown)).encode()


async def answered(asked: Asked, template: str, names: Names, shown: Mapping[str, Any], status: int = 200) -> Response:
    """The page that answers a form."""
    return _reply(await run_sync(partial(written, asked, template, names, shown)), status, None, None)


async def fault_page(asked: Asked, document: ServedDocument, names: Names) -> Response:
    """The page of a refusal: what is wrong, and what to do next."""
    problem = document.json() if document.is_json else {"title": "No answer", "detail": "", "errors": []}
    known = {} if document.status in {401, 403} else names
    shown = {"problem": problem, "status": document.status, "stranger": asked.caller is STRANGER}
    body = await run_sync(partial(written, asked, "fault.html", known, shown))
    kept = {
        name: document.headers[name]
        for name in ("www-authenticate", "retry-after", "allow")
        if name in document.headers
    }
    return _reply(body, document.status, None, None, kept)


def refused_form(scope: ScopeOf, error: ServiceError, headers: Mapping[str, str]) -> Response:
    """The page that answers a form, or a file, that was refused before it was read."""
    document = problem(error)
    scope["myoresponse.instance"] = document.instance
    asked = Asked(_nothing, scope, _silence, _AFTER_A_FORM)
    found = re.match(r"/pages/studies/([^/]+)/", path_of(scope))
    names = {"study": found[1]} if found is not None and error.status not in {401, 403} else {}
    refused = document.model_dump(mode="json")
    if isinstance(error, TooLarge):
        refused["detail"] = f"{refused['detail']} {_LARGER_FILES}"
    shown = {"problem": refused, "status": error.status, "stranger": True, "query": [], "local": error.status != 401}
    return _reply(written(asked, "fault.html", names, shown), error.status, None, None, headers)


_LARGER_FILES = "Divide the file, or load it on the machine of the service: python -m app import."
_AFTER_A_FORM = "/v1/studies"
"""The page that follows a form that was refused."""


async def _nothing(scope: ScopeOf, receive: Receive, send: Send) -> None:
    raise AssertionError("a refusal reads no document")


async def _silence() -> Message:
    raise AssertionError("a refusal reads no body")


def frame(asked: Asked, names: Names) -> dict[str, Any]:
    """What every page shows around its content."""
    study = names.get("study")
    pinned = [(name, value) for name, value in asked.query if name in PINNED]
    home = f"{asked.root}/v1/studies/{study}" if study else ""

    def to(path: str, *query: tuple[str, str]) -> str:
        """The address of the page of a document, at the same revision."""
        kept = [*query, *(pinned if study and path.startswith(f"/v1/studies/{study}") else ())]
        suffix = ".html" if path != "/" else ""
        return f"{asked.root}{path}{suffix}{'?' + urlencode(kept) if kept else ''}"

    def data(path: str, *query: tuple[str, str]) -> str:
        """The address of a document, at the same revision."""
        kept = [*query, *pinned]
        return f"{asked.root}{path}{'?' + urlencode(kept) if kept else ''}"

    return {
        "root": asked.root,
        "path": asked.path,
        "query": asked.query,
        "to": to,
        "data": data,
        "pinned": dict(pinned),
        "study": study,
        "menu": [(to(f"/v1/studies/{study}{rest}"), title, f"/v1/studies/{study}{rest}") for rest, title in _MENU]
        if study
        else [],
        "home": home,
        "files": f"{asked.root}/pages/files/{file_digest()}",
        "caller": asked.caller,
        "may": {scope.value.replace("-", "_"): scope in asked.caller.scopes for scope in Scope},
        "local": asked.caller is LOCAL,
        "token": "" if asked.session is None else asked.session.token,
        "asked_for_keys": who_is_asked(asked.state.settings),
    }


async def _itself(asked: Asked) -> Response | None:
    """The resource whose name ends like a suffix, as it is; `None` if there is none."""
    written = str(asked.scope["path"])
    if asked.path == written:
        return None
    found = await asked.get(f"{asked.path}.html", asked.query)
    return Response(found.body, 200, dict(found.headers)) if found.status == 200 else None


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)))


def _who_asked(asked: Asked, place: str) -> str:
    """A page differs by who reads it. The credentials say who that is before the first document is read."""
    headers = [value for name, value in asked.scope["headers"] if name in {b"authorization", b"cookie", b"host"}]
    return hashlib.sha256(b"\n".join([place.encode(), *headers])).hexdigest()


def _key(asked: Asked, place: str, tags: Iterable[str | None]) -> str:
    return etag_from("page", made_by(), _who_asked(asked, place), sorted(asked.caller.scopes), asked.root, *tags)


def _reply(
    body: bytes, status: int, tag: str | None, if_none_match: str | None, more: Mapping[str, str] | None = None
) -> Response:
    # With `no-referrer`, a browser sends `Origin: null` with a form, which is refused.
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin", **(more or {})}
    if tag is not None:
        headers["ETag"] = tag
        if matches(if_none_match, tag):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, HTML)
