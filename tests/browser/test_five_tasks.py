"""Five tasks of a reader who knows the first address alone, and goes on by what is written on each page."""

import re

import pytest

from tests.browser.checks import check_accessible, check_width
from tests.browser.keyboard import press, press_in_row, reach

MESSY = (
    "patient;time;code;value;unit;upper_limit;id;source\n"
    "P01;2005-03-16T09:48:00+09:00;CK;1101;U/L;163;a1;A\n"
    "P02;2005-03-16T09:48:00+09:00;CK;900;ng/mL;163;a2;A\n"
    "P02;2005-03-18T09:48:00+09:00;NA;140;mmol/L;;a3;A\n"
)
DEMONSTRATION = "Demonstration: synthetic IVIG cohort"


@pytest.fixture
def demo(opened):
    """The demonstration study, found on the first page."""
    page = opened("/")
    page.get_by_role("link", name=DEMONSTRATION).click()
    return page


def menu(page, name):
    """Go to a page of the study."""
    page.get_by_role("navigation", name="Study").get_by_role("link", name=name).click()


def words_of(element):
    return " ".join(element.inner_text().split())


def test_the_median_and_its_limits_are_found(demo):
    menu(demo, "Questions")
    demo.get_by_role("link", name="For how long does CK stay normal?", exact=True).click()
    row = demo.get_by_role("row").filter(has=demo.get_by_role("rowheader", name="Median (95", exact=False)).first
    assert words_of(row) == "Median (95 % CI) 334.5 d (77 to not reached)"


def test_why_a_patient_is_left_out_is_found_for_all_and_for_one(demo):
    menu(demo, "Questions")
    demo.get_by_role("link", name="How many patients responded, by each declared rule?").click()
    left_out = demo.get_by_role("region", name="Who was left out, and why")
    assert "1 No usable value after day 0. MMT" in words_of(left_out)
    demo.get_by_text("Change the conventions").click()
    demo.get_by_label("List each patient").select_option("yes")
    demo.get_by_role("button", name="Ask with these").click()
    demo.wait_for_url("**patients=true*")
    row = demo.get_by_role("row").filter(has_text=re.compile(r"P\d\d.*No usable value after day 0", re.DOTALL))
    patient = re.search(r"P\d\d", row.first.inner_text())[0]
    menu(demo, "Patients")
    demo.get_by_role("link", name=patient).click()
    verdicts = demo.get_by_role("region", name="Response under each definition")
    assert "Not judged: No usable value after day 0." in words_of(verdicts)


def test_the_report_is_printed(demo):
    menu(demo, "Report")
    demo.wait_for_url("**/report.html*")
    demo.evaluate("window.print = () => { window.printed = true }")
    demo.get_by_role("button", name="Print this page").click()
    assert demo.evaluate("window.printed")
    demo.emulate_media(media="print")
    assert demo.get_by_role("heading", name="To cite this report").is_visible()
    assert demo.locator("figure svg").first.is_visible()
    assert not demo.get_by_role("button", name="Print this page").is_visible()
    assert not demo.get_by_role("navigation", name="Study").is_visible()


def test_the_report_is_loaded_as_a_pdf(opened):
    page = opened("/")
    page.get_by_role("link", name="Without data").click()  # its report is short, and has all that a PDF needs
    menu(page, "Report")
    answer = page.request.get(page.get_by_role("link", name="PDF").get_attribute("href"))
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.body().startswith(b"%PDF-")


def test_a_messy_file_is_loaded_and_a_row_of_it_undone_with_the_keyboard_alone(opened, tmp_path):
    file = tmp_path / "messy.csv"
    file.write_text(MESSY)
    page = opened("/")
    page.once("filechooser", lambda chooser: chooser.set_files(file))
    press(page, "A name, a protocol")
    reach(page, "Name for people")
    page.keyboard.type("A trial of files")
    reach(page, "Identifier in addresses")
    page.keyboard.type("files-with-script")
    reach(page, "Numbers of a hospital")
    page.keyboard.press("ArrowDown")
    reach(page, "Time zone")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Add data").wait_for()
    reach(page, "File")
    page.keyboard.press("Enter")
    page.get_by_text("cells separated by a semicolon").wait_for()
    press(page, "Rehearse")
    page.get_by_role("heading", name="Rehearsal of messy.csv: nothing is stored").wait_for()
    assert "1 kept" in words_of(page.locator(".counts"))
    assert "line 3, column unit" in words_of(page.locator("#outcome"))
    check_accessible(page)
    press(page, "Load")
    page.get_by_role("heading", name="messy.csv is loaded").wait_for()
    press(page, "See what is set aside")
    page.get_by_role("heading", name="CK of P02").wait_for()
    check_accessible(page)
    press(page, "Dismiss item 1")
    press(page, "Dismiss item 1")
    page.get_by_role("heading", name="Item 1 was dismissed").wait_for()
    check_accessible(page)
    press(page, "Back to what is set aside")
    page.get_by_role("heading", name="Nothing is set aside").wait_for()
    press(page, "Patients")
    page.get_by_role("heading", name="Patients", exact=True).wait_for()
    press(page, "P01")
    page.get_by_role("heading", name="Patient P01").wait_for()
    press_in_row(page, "Take back", "1\u202f101")
    page.get_by_role("heading", name="Take back this row?").wait_for()
    check_accessible(page)
    press(page, "Take it back")
    page.get_by_role("heading", name="The row was taken back").wait_for()
    check_accessible(page)
    press(page, "Back to P01")
    page.get_by_role("heading", name="No fact counts for this patient").wait_for()


def test_a_messy_file_is_loaded_and_a_row_of_it_undone_without_a_script(opened, tmp_path):
    file = tmp_path / "messy.csv"
    file.write_text(MESSY)
    page = opened("/", width=390, script=False)
    page.get_by_text("A name, a protocol").click()
    page.get_by_label("Name for people").fill("A trial of files")
    page.get_by_label("Identifier in addresses").fill("files-without")
    page.get_by_label("Pseudonyms").check()
    page.get_by_role("button", name="Create the study").click()
    page.get_by_role("heading", name="Add data").wait_for()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Rehearse").click()
    page.get_by_role("heading", name="Rehearsal of messy.csv: nothing is stored").wait_for()
    assert "1 kept" in words_of(page.locator(".counts"))
    assert "line 3, column unit" in words_of(page.locator("#outcome"))
    check_width(page)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="messy.csv is loaded").wait_for()
    page.get_by_role("link", name="See what is set aside").click()
    page.get_by_text("Dismiss item 1").first.click()
    page.get_by_role("button", name="Dismiss item 1").click()
    page.get_by_role("heading", name="Item 1 was dismissed").wait_for()
    page.get_by_role("link", name="Back to what is set aside").click()
    page.get_by_role("heading", name="Nothing is set aside").wait_for()
    menu(page, "Patients")
    page.get_by_role("link", name="P01").click()
    page.get_by_role("row").filter(has_text="1\u202f101").get_by_role("button", name="Take back").click()
    page.get_by_role("heading", name="Take back this row?").wait_for()
    check_width(page)
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("heading", name="The row was taken back").wait_for()
    page.get_by_role("link", name="Back to P01").click()
    page.get_by_role("heading", name="No fact counts for this patient").wait_for()


def test_what_changed_since_an_earlier_revision_is_said(demo):
    menu(demo, "Revisions")
    demo.get_by_label("What changed since revision").fill("14")
    demo.get_by_role("button", name="Show what changed").click()
    demo.get_by_role("heading", name="What changed from revision 14 to 16").wait_for()
    said = words_of(demo.get_by_role("region", name="Headline figures"))
    assert "The response rate by MMT rose from 92.9 % to 93.3 %. The number of patients went from 14 to 15." in said
    assert "1 adverse event added" in demo.get_by_role("region", name="Step by step").inner_text()
    then = demo.get_by_role("link", name="The study then").first
    assert then.get_attribute("href").endswith("/v1/studies/demo.html?revision=15")
