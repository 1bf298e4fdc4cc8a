"""The pages of the ledger: what each revision did, and which headline figures moved between two of them."""

import pytest

from app.pages.ledger import done_by, name_of
from tests.api.examples import events, fill, lab, make_study
from tests.pages.reading import read

NONE = dict.fromkeys(
    ("added", "superseded", "unchanged", "stale", "late", "repeats", "unversioned_corrections", "withdrawn"), 0
)


def test_the_ledger_says_in_words_what_each_revision_did_newest_first(client):
    home = fill(client, 1)
    client.post(f"{home}/patients/P00/events", json=events("P00", lab(0, 900, status="corrected", upper_limit=170)))
    client.delete(f"{home}/patients/P00?erase=true")
    page = read(client.get(f"{home}/revisions.html"))
    assert [(row[0], row[2]) for row in page.rows[1:]] == [
        ("3", "A person was erased."),
        ("2", "1 new fact. cannot be read any more"),
        ("1", "21 new facts. cannot be read any more"),
        ("0", "The settings of the study were declared."),
    ]
    assert [row[0] for row in read(client.get(f"{home}/revisions.html?order=oldest")).rows[1:]] == ["0", "1", "2", "3"]
    assert [row[4] for row in page.rows[1:]] == ["The study then", "", "", "The study then"]


def test_the_study_can_be_opened_at_an_earlier_revision_and_says_so(client):
    home = fill(client, 3)
    page = read(client.get(f"{home}/revisions.html"))
    addresses = [address for words, address in page.links if words == "The study then"]
    assert addresses[1] == f"{home}.html?revision=2"
    then = client.get(f"{home}/patients.html?revision=2")
    assert "You see this study at revision 2" in then.text
    assert [row[0] for row in read(then).rows[1:]] == ["P00", "P01"]


def test_a_long_ledger_comes_in_pages(client):
    home = fill(client, 4)
    first = read(client.get(f"{home}/revisions.html?limit=3"))
    assert [row[0] for row in first.rows[1:]] == ["4", "3", "2"]
    rest = read(client.get(first.link("More revisions")))
    assert [row[0] for row in rest.rows[1:]] == ["1", "0"]


def test_what_moved_stands_in_sentences_and_in_a_table_with_the_figures_of_the_answer(client):
    home = fill(client, 2)
    client.post(f"{home}/patients/P01/events", json={
        "patient": {"id": "P01"},
        "labs": [lab(day, 2000 + day) for day in (7, 14, 28, 56)],
    })  # fmt: skip
    answer = client.get(f"{home}/changes?from=2&to=3").json()
    page = read(client.get(f"{home}/changes.html?from=2&to=3"))
    changed = [each for each in answer["figures"] if each["before"] != each["after"]]
    assert changed
    rows = {row[0]: row[1:] for row in page.rows[1:]}
    for each in answer["figures"]:
        name = name_of(each).removesuffix(",")
        assert (f"{name} moved" in rows) is ((each["before"], each["n_before"]) != (each["after"], each["n_after"]))
    rate = next(each for each in answer["figures"] if (each["measure"], each["of"]) == ("CK", "rate"))
    assert (rate["before"], rate["after"]) == (1, 0.5)
    assert "The response rate by CK fell from 100 % to 50 %." in page.words
    assert rows["The response rate by CK moved"] == ["100 %", "2", "50 %", "2"]
    assert rows["The response rate by MMT"] == ["100 %", "2", "100 %", "2"]


def test_a_figure_of_an_erased_revision_is_explained_and_not_shown(client):
    home = fill(client, 2)
    client.delete(f"{home}/patients/P01?erase=true")
    page = client.get(f"{home}/changes.html?from=1&to=3")
    assert page.status_code == 200
    assert "It held a person who was erased since, so its figures cannot be given." in page.text
    gone = client.get(f"{home}/changes.html?from=2&to=3")
    assert (gone.status_code, "This revision held a person who was erased since." in gone.text) == (410, True)
    assert read(gone).link("Overview of the study") == f"{home}.html"


def test_steps_come_in_pages_and_keep_both_revisions(client):
    home = fill(client, 4)
    first = read(client.get(f"{home}/changes.html?from=0&to=&limit=3"))
    second = client.get(first.link("Next steps"))
    assert (second.status_code, "Revision 4" in second.text, "Revision 3" in read(second).words) == (200, True, False)


def test_two_revisions_that_are_the_same_say_that_nothing_lies_between(client):
    home = fill(client, 1)
    words = read(client.get(f"{home}/changes.html?from=1&to=1")).words
    assert "No headline figure moved." in words
    assert "There is no revision between the two." in words


@pytest.mark.parametrize("query", ["?from=9", "?from=2&to=1", "?from=x"])
def test_revisions_that_do_not_exist_get_a_page_that_says_so(client, query):
    home = make_study(client)
    answer = client.get(f"{home}/changes.html{query}")
    assert answer.status_code in {404, 422}
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "No fact changed."),
        ({"added": 1}, "1 new fact."),
        ({"added": 2, "superseded": 1, "withdrawn": 1}, "2 new facts, 1 statement that replaced an earlier one, "
         "1 fact that no longer counts."),
        ({"late": 2}, "2 statements older than what stands."),
    ],
)  # fmt: skip
def test_counts_are_a_sentence(counts, said):
    assert done_by({"format": "csv", "counts": NONE | counts}) == said
