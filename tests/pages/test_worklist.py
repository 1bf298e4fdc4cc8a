"""The page of what is set aside: in words, dismissed by a form, rescued by a declaration."""

import re

import pytest

from tests.pages.test_add_data import ALIAS, HEADER, KEPT, NG, revision, send, words

PAGE = "/v1/studies/trial/set-aside.html"


@pytest.fixture
def trial(client):
    client.put("/v1/studies/trial", json={"name": "Trial", "identifiers": "pseudonyms", "protocol": "seed-2008"})
    return client


def test_without_items_it_says_so_and_leads_on(trial):
    text = trial.get(PAGE).text
    assert "Nothing is set aside" in text
    assert '"/v1/studies/trial/intake.html"' in text


def test_each_item_is_told_in_words_and_a_dismissal_takes_it_off(trial):
    send(trial, HEADER + KEPT + NG, do="load")
    before = revision(trial)
    text = words(trial.get(PAGE).text)
    assert "1 item CK of P02 A mass concentration is not an enzyme activity" in text
    assert "Where it stood line 3, column unit (csv)" in text
    assert trial.post("/pages/studies/trial/set-aside/1", data={"reason": "duplicate"}).status_code == 200
    assert "Nothing is set aside" in trial.get(PAGE).text
    assert revision(trial) == before + 1
    assert "CK of P02" in trial.get(f"{PAGE}?revision={before}").text


def test_a_dismissal_says_what_was_done_and_again_that_nothing_changed(trial):
    send(trial, HEADER + KEPT + NG, do="load")
    given = {"reason": "other", "comment": "Sent <twice> & checked"}
    page = trial.post("/pages/studies/trial/set-aside/1", data=given).text
    done = revision(trial)
    assert "<h1>Item 1 was dismissed</h1>" in page
    assert "It left the list of what is set aside. Nothing else changed" in words(page)
    assert f"Receipt: revision {done}." in words(page)
    assert "Another reason (write it below)" not in page
    assert "Sent &lt;twice&gt; &amp; checked" in page
    assert f'href="{PAGE}"' in page
    again = words(trial.post("/pages/studies/trial/set-aside/1", data=given).text)
    assert "Item 1 had been dismissed already" in again
    assert f"Nothing was changed now: the same was stored in revision {done}." in again
    assert revision(trial) == done


def test_a_dismissal_without_its_comment_is_refused_by_a_page(trial):
    send(trial, HEADER + NG, do="load")
    sent = trial.post("/pages/studies/trial/set-aside/1", data={"reason": "other", "comment": " "})
    assert (sent.status_code, "/comment" in sent.text) == (422, True)
    assert sent.headers["content-type"] == "text/html; charset=utf-8"
    unknown = trial.post("/pages/studies/trial/set-aside/99", data={"reason": "duplicate"})
    assert (unknown.status_code, "<h1>" in unknown.text) == (404, True)


def test_a_declaration_that_is_true_lets_the_same_file_count(trial):
    send(trial, HEADER + ALIAS, do="load")
    page = trial.get(PAGE).text
    assert "The laboratory writes this unit in another way" in page
    fields = {name: re.search(rf'name="{name}" value="([^"]*)"', page)[1] for name in ("declaration", "value", "to")}
    fields["value"] = fields["value"].replace("&#34;", '"').replace("&quot;", '"')
    sent = trial.post("/pages/studies/trial/declaration", data=fields, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, PAGE)
    study = trial.get("/v1/studies/trial").json()
    assert (study["unit_aliases"], study["name"], study["protocol"]["id"]) == ({"E/L": "U/L"}, "Trial", "seed-2008")
    assert "1 kept" in send(trial, HEADER + ALIAS, do="load")[1]
    assert "Nothing is set aside" in trial.get(PAGE).text


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ("unit_aliases", "{"),
        ("name", '"Another"'),
        ("protocol", '"seed-2008"'),
        ("unit_aliases", '{"E/L": "nonsense"}'),
    ],
)
def test_a_declaration_that_was_not_proposed_is_refused(trial, declaration, value):
    sent = trial.post("/pages/studies/trial/declaration", data={"declaration": declaration, "value": value})
    assert sent.status_code == 422
    study = trial.get("/v1/studies/trial").json()
    assert (study["name"], study["unit_aliases"]) == ("Trial", {})


def test_a_time_zone_is_chosen_by_a_person(trial):
    send(trial, HEADER + KEPT.replace("+09:00", ""), do="load")
    assert 'placeholder="Asia/Tokyo"' in trial.get(PAGE).text
    fields = {"declaration": "time_zone", "value": "Asia/Tokyo", "to": PAGE}
    assert trial.post("/pages/studies/trial/declaration", data=fields, follow_redirects=False).status_code == 303
    assert trial.get("/v1/studies/trial").json()["time_zone"] == "Asia/Tokyo"


def two_infusions(trial):
    for more in ({"time": "2005-04-11"}, {"time": "2005-04-11T10:00:00+09:00", "id": "e1", "source": "E<HR>"}):
        infusion = {"product": "IVIG", "dose": 30, "unit": "g"} | more
        sent = {"patient": {"id": "P01"}, "infusions": [infusion]}
        assert trial.post("/v1/studies/trial/patients/P01/events", json=sent).status_code in {200, 201}
    [item] = trial.get("/v1/studies/trial/set-aside").json()["items"]
    return item["pair"]["decide"].replace("/v1/", "/pages/")


def test_two_facts_that_may_be_the_same_are_shown_and_decided_by_a_form(trial):
    form = two_infusions(trial)
    page = trial.get(PAGE).text
    assert f'action="{form}"' in page
    text = words(page)
    assert "IVIG of P01 Another fact that stands may be the same" in text
    assert "2005-04-11 10:00 Infusion IVIG 30 g E<HR>, e1" in text
    assert "Dismiss item" not in text
    done = words(trial.post(form, data={"decision": "same", "reason": "One <morning>"}).text)
    assert "The two facts are the same" in done
    assert "One <morning>" in done
    assert "Receipt: revision 3. What it moved" in done
    assert "Nothing is set aside" in trial.get(PAGE).text
    again = words(trial.post(form, data={"decision": "same", "reason": "One <morning>"}).text)
    assert "Nothing was changed now: the same was stored in revision 3." in again
    decided = words(trial.get("/v1/studies/trial/decisions.html").text)
    assert "1 decision Infusion of P01: the same" in decided
    assert "They are the same" not in decided
    assert "IVIG of P01" in trial.get(f"{PAGE}?revision=2").text
    assert "Decide about item" not in trial.get(f"{PAGE}?revision=2").text
    assert "It was decided whether two facts are the same." in trial.get("/v1/studies/trial/revisions.html").text


def test_a_decision_without_a_reason_is_refused_by_a_page(trial):
    form = two_infusions(trial)
    for content in ({"decision": "same", "reason": " "}, {"decision": "perhaps", "reason": "x"}):
        sent = trial.post(form, data=content)
        assert (sent.status_code, sent.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert trial.get("/v1/studies/trial").json()["revision"] == 2


def test_the_service_says_that_it_found_a_pair_by_its_content(trial):
    for more in ({}, {"id": "e1", "source": "EHR"}):
        event = {"onset": "2005-04-12T08:00:00+09:00", "term": "headache"} | more
        sent = {"patient": {"id": "P01"}, "adverse_events": [event]}
        trial.post("/v1/studies/trial/patients/P01/events", json=sent)
    decided = words(trial.get("/v1/studies/trial/decisions.html").text)
    assert "Adverse event of P01: the same, by their content" in decided
    assert "Decided by the service, revision 2" in decided
