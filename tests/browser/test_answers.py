"""What a reader does on the pages of the answers, with what is written there and the keyboard."""

import re

from tests.browser.checks import check_accessible


def test_a_convention_is_changed_and_a_refused_value_corrected_with_the_keyboard_alone(opened):
    page = opened("/v1/studies/demo/analyses/response-rates.html", width=390)
    page.get_by_text("Change the conventions").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_url("**level=2")
    level = page.get_by_label("Confidence level")
    assert level.get_attribute("aria-invalid") == "true"
    check_accessible(page)
    level.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("0.9")
    page.keyboard.press("Enter")
    page.wait_for_url("**level=0.9")
    page.get_by_text(re.compile(r"Rate \(90\s%\sCI\)")).first.wait_for()


def test_a_form_sends_only_what_was_filled_in_and_without_a_script_gives_the_same_figures(opened):
    with_script, without = (opened("/v1/planning/proportion.html", script=script) for script in (True, False))
    for page in (with_script, without):
        page.get_by_label("Rate", exact=True).fill("0.8")
        page.get_by_label("Patients (n)").fill("15")
        page.get_by_role("button", name="Plan").click()
        page.wait_for_url("**n=15*")
    assert "half_width" not in with_script.url
    assert "half_width=&" in without.url
    told = [page.get_by_role("region", name="The plan").inner_text() for page in (with_script, without)]
    assert told[0] == told[1] != ""


def test_a_printed_page_has_its_tables_and_no_controls(opened):
    page = opened("/v1/studies/demo/analyses/response-rates.html")
    page.emulate_media(media="print")
    assert page.get_by_text("Main table", exact=True).is_visible()
    assert not page.get_by_text("Change the conventions").is_visible()
    assert page.get_by_text("To cite").is_visible()
