"""What holds for every page."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe

_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def check_accessible(page: Any) -> None:
    """axe finds nothing to object to: WCAG 2.2, level AA."""
    found = Axe().run(page, options=_RULES).response["violations"]
    faults = [(rule["id"], [node["html"][:200] for node in rule["nodes"]][:3]) for rule in found]
    assert not faults, faults


def check_width(page: Any) -> None:
    """Nobody has to scroll sideways."""
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 1, f"{page.url} is {width} pixels too wide"


def content_of(page: Any) -> str:
    """The words on a page, without times, which a script shows in the zone of the reader."""
    return page.evaluate("""() => {
      const copy = document.querySelector("main").cloneNode(true)
      copy.querySelectorAll("time, script, style, [data-only-with-script]").forEach((each) => each.remove())
      return copy.textContent.replace(/\\s+/g, " ").trim()
    }""")
