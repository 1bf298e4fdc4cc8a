"""Files that are large or of a kind that is not read. `test_five_tasks.py` loads one with faults."""

from tests.browser.checks import check_width


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
    page.locator("#outcomes > .next").get_by_role("link", name="See what it changed").wait_for()


def test_a_file_of_another_kind_is_refused_before_it_is_sent(opened, tmp_path):
    file = tmp_path / "labs.xlsx"
    file.write_bytes(b"PK\x03\x04" + bytes(500))
    page = opened("/v1/studies/demo/intake.html", width=390)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_text("Save the sheet as").wait_for()
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="This file cannot be read").wait_for()
    check_width(page)
