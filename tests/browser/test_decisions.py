"""A person decides whether two facts are the same, and takes it back; with a script and without."""

import pytest

from tests.browser.checks import check_accessible, check_width
from tests.browser.test_five_tasks import menu, words_of

DAY, MORNING = "2005-04-11", "2005-04-11T10:00:00+09:00"
DOSE = {"product": "IVIG", "dose": 30, "unit": "g"}


@pytest.mark.parametrize("script", [True, False])
def test_two_facts_are_decided_to_be_the_same_and_this_is_taken_back(opened, site, script):
    study = f"feeds-{'with' if script else 'without'}-script"
    site.ask("PUT", f"/v1/studies/{study}", {"name": "Two feeds", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    for infusion in ({"time": DAY}, {"time": MORNING, "id": "e1", "source": "EHR"}):
        sent = {"patient": {"id": "P01"}, "infusions": [DOSE | infusion]}
        status, _ = site.ask("POST", f"/v1/studies/{study}/patients/P01/events", sent)
        assert status in {200, 201}
    page = opened(f"/v1/studies/{study}.html", width=1440 if script else 390, script=script)
    check = check_accessible if script else check_width  # the check of accessibility is a script
    menu(page, "Add data")
    page.get_by_role("link", name="See the worklist of what is set aside").click()
    page.get_by_role("heading", name="IVIG of P01").wait_for()
    rows = page.get_by_role("group", name="The two facts of item 1").get_by_role("row")
    assert [words_of(rows.nth(i))[:16] for i in (1, 2)] == ["2005-04-11 10:00", "2005-04-11 Infus"]
    check(page)
    page.get_by_text("Decide about item 1").click()
    page.get_by_label("Why, without data of the patient").fill("Both mean one morning.")
    page.get_by_role("button", name="They are the same").click()
    page.get_by_role("heading", name="The two facts are the same").wait_for()
    said = words_of(page.locator("main [role=status]"))
    assert "One of them counts in the figures" in said
    assert "Receipt: revision 3." in said
    check(page)
    page.get_by_role("link", name="Back to what is set aside").click()
    page.get_by_role("heading", name="Nothing is set aside").wait_for()
    page.get_by_role("link", name="What is decided").click()
    page.get_by_role("heading", name="Infusion of P01: the same").wait_for()
    assert "Both mean one morning." in words_of(page.get_by_role("main"))
    check(page)
    page.get_by_text("Decide again about 1, or take it back").click()
    page.get_by_label("Why, without data of the patient").fill("A mistake.")
    page.get_by_role("button", name="Take it back").click()
    page.get_by_role("heading", name="The decision was taken back").wait_for()
    page.get_by_role("link", name="What is decided").click()
    page.get_by_role("heading", name="Nothing is decided").wait_for()
    page.get_by_role("link", name="See what is set aside").click()
    page.get_by_role("heading", name="IVIG of P01").wait_for()


@pytest.mark.parametrize("script", [True, False])
def test_the_page_that_adds_data_lists_what_may_be_the_same_with_the_form(opened, site, script):
    study = f"added-{'with' if script else 'without'}-script"
    site.ask("PUT", f"/v1/studies/{study}", {"name": "Two feeds", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    period = {"drug": "prednisolone", "start": "2005-01-01", "dose": 20, "unit": "mg/d"}
    for who, sent in (
        ("P01", {"infusions": [DOSE | {"time": DAY}]}),
        ("P01", {"medications": [period | {"id": "1", "source": "CRF"}]}),
        ("P01", {"medications": [period | {"id": "1", "source": "EHR", "end": "2005-02-01"}]}),
        ("P02", {"infusions": [DOSE | {"time": MORNING, "id": "e1", "source": "EHR"}]}),
        ("P01", {"patient": {"id": "P01", "merged_into": "P02"}}),
    ):
        body = {"patient": {"id": who}} | sent
        status, _ = site.ask("POST", f"/v1/studies/{study}/patients/{who}/events", body)
        assert status in {200, 201}
    page = opened(f"/v1/studies/{study}/intake.html", width=1440 if script else 390, script=script)
    check = check_accessible if script else check_width
    section = page.get_by_role("region", name="What may be the same")
    assert section.get_by_role("heading", level=3).all_inner_texts() == ["prednisolone of P01", "IVIG of P01"]
    check(page)
    section.get_by_text("Decide about IVIG of P01, 2005-04-11").click()
    section.get_by_label("Why, without data of the patient").last.fill("Both mean one morning.")
    section.get_by_role("button", name="They are the same").last.click()
    page.get_by_role("heading", name="The two facts are the same").wait_for()
    menu(page, "Add data")
    page.get_by_role("heading", name="Add data").wait_for()
    assert section.get_by_role("heading", level=3).all_inner_texts() == ["prednisolone of P01"]
    rows = section.get_by_role("group", name="The two facts of item 1").get_by_role("row")
    assert [words_of(rows.nth(i))[:26] for i in (1, 2)] == ["2005-01-01 Drug prednisolo"] * 2
    check(page)
