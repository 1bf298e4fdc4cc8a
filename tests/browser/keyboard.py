"""A reader without a mouse: a control is reached with the Tab key, and by what is written on it."""

from collections.abc import Callable
from typing import Any

_MOST = 120


def press(page: Any, name: str) -> None:
    """Reach a button or a link, and press it."""
    _until(page, "document.activeElement.innerText?.trim() ?? ''", lambda text: text.startswith(name), name)
    page.keyboard.press("Enter")


def reach(page: Any, label: str) -> None:
    """Reach a field by its label."""
    said = "document.activeElement.labels?.[0]?.innerText?.trim() ?? ''"
    _until(page, said, lambda text: text.startswith(label), label)


def press_in_row(page: Any, name: str, row: str) -> None:
    """Reach a button or a link in the row of a table that has this text, and press it."""
    said = "document.activeElement.innerText?.trim() + '|' + document.activeElement.closest('tr')?.innerText"
    _until(page, said, lambda text: text.startswith(f"{name}|") and row in text, f"{name} of {row}")
    page.keyboard.press("Enter")


def _until(page: Any, said: str, reached: Callable[[str], bool], name: str) -> None:
    for _ in range(_MOST):
        page.keyboard.press("Tab")
        if reached(page.evaluate(said)):
            return
    raise AssertionError(f"{name} is not reached by the keyboard on {page.url}")
