"""Load a messy file: rehearse it, load it, see what was set aside, and dismiss it. Only what the pages say is used."""

import pytest

from tests.browser.checks import check_accessible, check_width

MESSY = (
    "patient;time;code;value;unit;upper_limit;id;source\n"
    "P01;2005-03-16T09:48:00+09:00;CK;1101;U/L;163;a1;A\n"
    "P02;2005-03-16T09:48:00+09:00;CK;900;ng/mL;163;a2;A\n"
    "P02;2005-03-18T09:48:00+09:00;NA;140;mmol/L;;a3;A\n"
)


def press(page, name):
    """Reach a button or a link by the keyboard alone, and press it."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText?.trim() ?? ''").startswith(name):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{name} is not reached by the keyboard")


def reach(page, label):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.labels?.[0]?.innerText?.trim() ?? ''").startswith(label):
            return
    raise AssertionError(f"{label} is not reached by the keyboard")


def create(page, study):
    """Create a study of pseudonyms by the keyboard."""
    press(page, "A name, a protocol")
    reach(page, "Name for people")
    page.keyboard.type("A trial of files")
    reach(page, "Identifier in addresses")
    page.keyboard.type(study)
    reach(page, "Numbers of a hospital")
    page.keyboard.press("ArrowDown")
    reach(page, "Time zone")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Add data").wait_for()


@pytest.mark.parametrize("script", [True, False])
def test_a_messy_file_is_rehearsed_loaded_and_mended_by_keyboard(opened, tmp_path, script):
    file = tmp_path / "messy.csv"
    file.write_text(MESSY)
    page = opened("/v1/studies.html", script=script)
    if script:
        check_accessible(page)
    if script:
        create(page, "files-with-script")
    else:
        page.get_by_text("A name, a protocol").click()
        page.get_by_label("Name for people").fill("A trial of files")
        page.get_by_label("Identifier in addresses").fill("files-without")
        page.get_by_label("Pseudonyms").check()
        page.get_by_role("button", name="Create the study").click()
    if script:
        check_accessible(page)
    page.get_by_label("File", exact=True).set_input_files(file)
    if script:
        page.get_by_text("cells separated by a semicolon").wait_for()
        page.get_by_label("File", exact=True).focus()
        press(page, "Rehearse")
    else:
        page.get_by_role("button", name="Rehearse").click()
    page.get_by_role("heading", name="Rehearsal of messy.csv: nothing is stored").wait_for()
    assert "1 kept" in page.locator(".counts").inner_text().replace("\n", " ")
    assert "line 3, column unit" in page.locator("#outcome").inner_text()
    if script:
        check_accessible(page)
    check_width(page)
    if not script:
        page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="messy.csv is loaded").wait_for()
    page.get_by_role("link", name="See what is set aside").click()
    page.get_by_role("heading", name="CK of P02").wait_for()
    if script:
        check_accessible(page)
    page.get_by_text("Dismiss item 1").first.click()
    page.get_by_role("button", name="Dismiss item 1").click()
    page.get_by_role("heading", name="Nothing is set aside").wait_for()


def test_a_large_file_is_sent_in_parts_and_every_row_arrives_once(opened, site, tmp_path):
    header = "patient,time,code,value,unit,upper_limit,lab,id,code_text\n"
    rows = "".join(
        f'P{n % 40:02},2005-03-16T09:48:00+09:00,CK,{n},U/L,163,A,n{n},"Creatine\n kinase"\n' for n in range(30_000)
    )
    file = tmp_path / "large.csv"
    file.write_text(header + rows)
    assert file.stat().st_size > 2_000_000
    status, _ = site.ask("PUT", "/v1/studies/large", {"name": "Large", "identifiers": "pseudonyms"})
    assert status == 201
    page = opened("/v1/studies/large/intake.html")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="Loaded: 30,000 kept").wait_for(timeout=120_000)
    assert page.get_by_text("Part 2:").count() == 1
    page.locator("section", has=page.locator("#arrived")).get_by_role("cell", name="30\u202f000").wait_for()
    assert page.locator("#outcomes > .next").get_by_role("link", name="See what it changed").count() == 1


def test_a_file_of_another_kind_is_refused_before_it_is_sent(opened, tmp_path):
    file = tmp_path / "labs.xlsx"
    file.write_bytes(b"PK\x03\x04" + bytes(500))
    page = opened("/v1/studies/demo/intake.html", width=390)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_text("Save the sheet as").wait_for()
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="This file cannot be read").wait_for()
    check_width(page)
