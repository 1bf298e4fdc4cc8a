"""What holds for every page."""

import re
from typing import Any

from axe_playwright_python.sync_playwright import Axe

_AXE = Axe().axe_script
_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
_OF_COLOURS = ("color-contrast", "link-in-text-block")
WIDTHS = (1440, 390, 820, 2560)


def check_accessible(page: Any, *rules: str, without: str = "") -> None:
    """axe finds nothing to object to: WCAG 2.2, level AA; or only by some rules."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    found = page.evaluate(
        """async ([place, only]) => (await axe.run(place, {runOnly: only, resultTypes: ["violations"]})).violations.map(
            (rule) => [rule.id, rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))])""",
        [{"include": ["html"], "exclude": [without] if without else []}, list(rules or _RULES)],
    )
    assert not found, (page.url, found)


def check_dark(page: Any) -> None:
    """Everything can be read when the page is dark, too. Nothing but its colours is different then; charts stay."""
    page.emulate_media(color_scheme="dark")
    check_accessible(page, *_OF_COLOURS, without=".chart")
    page.emulate_media(color_scheme="light")


def check_width(page: Any, *widths: int) -> None:
    """Nobody has to scroll sideways."""
    for width in widths or (None,):
        if width is not None:
            page.set_viewport_size({"width": width, "height": 300})
        more = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert more <= 1, f"{page.url} is {more} pixels too wide for {page.viewport_size}"


def check_policy(page: Any, policy: str | None) -> None:
    """The page may load nothing but its own files, and no text in it may run; the browser holds it to that."""
    assert policy is not None, f"{page.url} has no Content-Security-Policy"
    parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert parts["script-src"] == "'self'", policy
    assert {parts[name] for name in ("default-src", "base-uri", "frame-ancestors")} == {"'none'"}, policy
    assert not re.search(r"unsafe|https?:|\*|nonce-|sha256-", policy), policy


def check_harmless(page: Any) -> None:
    """No text has become a part of the page. That none has run, the console says at the end of the test."""
    made = page.evaluate(
        "[...document.querySelectorAll('[data-harm], script:not([src], [type$=json])')].map((each) => each.outerHTML)"
    )
    assert not made, (page.url, made)


_WORDS = """(page) => {
  const copy = page.querySelector("main").cloneNode(true)
  copy.querySelectorAll("time, script, style, [data-only-with-script]").forEach((each) => each.remove())
  return copy.textContent.replace(/\\s+/g, " ").trim()
}"""


def content_of(page: Any) -> str:
    """The words on a page, without times, which a script shows in the zone of the reader."""
    return str(page.evaluate(f"() => ({_WORDS})(document)"))


def content_as_sent(page: Any, html: str) -> str:
    """The same words as the service sent them, before a script ran."""
    return str(page.evaluate(f"html => ({_WORDS})(new DOMParser().parseFromString(html, 'text/html'))", html))
