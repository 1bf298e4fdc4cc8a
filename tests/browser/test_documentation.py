"""The documentation in a browser: accessible, as wide as the window, found by a search and read by keyboard."""

import pytest

from tests.browser.checks import WIDTHS, check_accessible, check_dark, check_width, content_as_sent, content_of
from tests.browser.keyboard import press, reach


@pytest.mark.parametrize("path", ["/docs", "/docs/tutorial", "/docs/bulk"])
def test_a_page_is_accessible_and_fits_each_screen(opened, path):
    page = opened()
    answer = page.goto(path)
    check_accessible(page)
    if path == "/docs/tutorial":
        check_dark(page)
    check_width(page, *WIDTHS)
    assert content_as_sent(page, answer.text()) == content_of(page)


def test_a_word_is_looked_for_and_its_passage_is_read_by_keyboard(opened):
    page = opened("/docs")
    reach(page, "Search the documentation")
    page.keyboard.type("worklist dismissed")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Search the documentation").wait_for()
    check_accessible(page)
    press(page, "The worklist")
    page.wait_for_url("**/docs/intake#the-worklist")
    page.get_by_role("heading", name="The worklist").wait_for()
