"""The pages of the patients: found, read with every version of every fact, and a row taken back."""

import re

import pytest

from app.access.callers import Scope
from app.pages.facts import key_of, timeline_of, treatment_began
from tests.api.examples import events, fill, lab, make_study, timeline
from tests.pages.reading import read
from tests.pages.test_sign_in import signed_in

HARMFUL = "<script>alert(1)</script>"


def keys(page) -> list[str]:
    return page.fields.get("fact", [])


class TestTheList:
    def test_it_has_each_patient_with_what_is_stored_and_a_link(self, client):
        home = fill(client, 3)
        page = read(client.get(f"{home}/patients.html"))
        assert [row[0] for row in page.rows] == ["Patient", "P00", "P01", "P02"]
        assert page.rows[1][1:8] == ["Polymyositis", "Male", "1953", "7", "10", "1", "0"]
        assert "3 patients, in the order of the identifiers." in page.words
        assert page.link("P02") == f"{home}/patients/P02.html"

    def test_a_search_is_a_form_and_keeps_what_was_typed(self, client):
        home = fill(client, 12)
        page = read(client.get(f"{home}/patients.html?q=p1&sex=female&diagnosis="))
        assert [row[0] for row in page.rows[1:]] == ["P11"]
        assert page.fields["q"] == ["p1"]
        assert '<option value="female" selected>' in client.get(f"{home}/patients.html?sex=female").text

    def test_pages_stay_on_one_revision_and_keep_the_search(self, client):
        home = fill(client, 12)
        first = read(client.get(f"{home}/patients.html?q=p&limit=5"))
        client.post(f"{home}/timelines", json=[timeline("P055")])
        second = client.get(first.link("Next patients"))
        assert [row[0] for row in read(second).rows[1:]] == ["P05", "P06", "P07", "P08", "P09"]
        assert "as it was when you opened its first page" in second.text
        third = read(client.get(read(second).link("Next patients")))
        assert [row[0] for row in third.rows[1:]] == ["P10", "P11"]

    def test_an_earlier_revision_stays_in_every_link(self, client):
        home = fill(client, 4)
        page = read(client.get(f"{home}/patients.html?revision=3&limit=2"))
        assert page.link("P00") == f"{home}/patients/P00.html?revision=3"
        rest = read(client.get(page.link("Next patients")))
        assert [row[0] for row in rest.rows[1:]] == ["P02"]
        assert rest.link("P02") == f"{home}/patients/P02.html?revision=3"

    @pytest.mark.parametrize(
        ("query", "said"),
        [("", "No patient yet"), ("?q=zz", "No patient of this study fits"), ("?q=ä+b", "letters, digits, points")],
    )
    def test_nothing_found_says_why_and_what_next(self, client, query, said):
        home = make_study(client)
        answer = client.get(f"{home}/patients.html{query}")
        assert (answer.status_code, said in answer.text) == (200, True)

    def test_an_unknown_parameter_is_refused_as_in_the_answer(self, client):
        home = make_study(client)
        assert client.get(f"{home}/patients.html?colour=red").status_code == 422


class TestAPatient:
    def test_each_result_stands_against_its_own_limit(self, client):
        home = make_study(client)
        labs = [lab(0, 326), lab(7, 163), lab(14, 100, comparator="<"), lab(21, 90, upper_limit=None)]
        client.post(f"{home}/timelines", json=[timeline("P1") | {"labs": labs}])
        page = read(client.get(f"{home}/patients/P1.html"))
        results = [row[:6] for row in page.rows if len(row) > 5 and row[2] == "Result"]
        assert results == [
            ["2005-04-11 09:00", "0", "Result", "CK", "326 U/L", "163 above, 2 ×"],
            ["2005-04-18 09:00", "7", "Result", "CK", "163 U/L", "163 not above"],
            ["2005-04-25 09:00", "14", "Result", "CK", "< 100 U/L", "163 not above"],
            ["2005-05-02 09:00", "21", "Result", "CK", "90 U/L", "none sent"],
        ]

    def test_the_verdict_of_each_definition_is_that_of_the_answer(self, client):
        home = fill(client, 2)
        answer = client.get(f"{home}/analyses/response-rates?patients=true").json()
        page = read(client.get(f"{home}/patients/P01.html"))
        shown = [row for row in page.rows if len(row) == 5][1:]
        found = [next(row for row in each["patients"] if row["patient"] == "P01") for each in answer["results"]]
        assert [row[1] for row in shown] == ["Responder" if each["responder"] else "No response" for each in found]
        assert [row[3] for row in shown] == [f"{each['value']:g}" for each in found]
        assert (
            "MMT is at least 5 points better than the baseline, judged by the best value of days 1 to 59" in page.words
        )

    def test_the_spell_of_normal_ck_is_that_of_the_answer(self, client):
        home = fill(client, 2)
        row = client.get(f"{home}/analyses/ck-normal-time?patients=true").json()["results"][0]["patients"][0]
        assert (row["start"], row["duration"], row["event"]) == (56, 34, False)
        words = read(client.get(f"{home}/patients/P00.html")).words
        assert "CK was first normal on day 56 and stayed normal for at least 34 days" in words

    def test_a_corrected_result_shows_both_versions_and_who_sent_them(self, client):
        home = make_study(client)
        for version, value in ((1, 100), (2, 120)):
            client.post(f"{home}/patients/P1/events", json=events("P1", lab(0, value, id="a", version=version)))
        page = read(client.get(f"{home}/patients/P1.html"))
        assert "CK 100 U/L of 2005-04-11 09:00; a newer version replaced it" in page.words
        assert [row[4] for row in page.rows if len(row) > 5][1:] == ["120 U/L"]
        history = read(client.get(f"{home}/patients/P1/history.html?code=CK"))
        assert [(row[3], row[-1][:3]) for row in history.rows[1:]] == [
            ("100 U/L final, version 1", "No:"), ("120 U/L final, version 2", "yes"),
        ]  # fmt: skip

    @pytest.mark.parametrize("patient", ["1", "1.5", "0007", "A-", "a.html", "X.json"])
    def test_an_identifier_may_be_any_that_the_study_takes(self, client, patient):
        home = make_study(client)
        client.post(f"{home}/patients/{patient}/events", json=events(patient, lab(0, 100)))
        listed = read(client.get(f"{home}/patients.html"))
        page = client.get(listed.link(patient))
        assert (page.status_code, f"Patient {patient}" in page.text) == (200, True)
        assert client.get(f"{home}/patients/{patient}/history.html").status_code == 200

    def test_one_who_is_unknown_or_erased_gets_a_page_that_says_so(self, client):
        home = fill(client, 2)
        unknown = client.get(f"{home}/patients/P9.html")
        assert (unknown.status_code, "no patient of this name" in unknown.text) == (404, True)
        client.delete(f"{home}/patients/P01?erase=true")
        erased = client.get(f"{home}/patients/P01.html")
        assert (erased.status_code, "erased" in erased.text, f"{home}.html" in erased.text) == (410, True, True)

    def test_texts_of_a_sender_are_text(self, client):
        home = make_study(client)
        sent = events("P1", lab(0, 100, lab=HARMFUL)) | {"adverse_events": [{"term": HARMFUL, "onset": "2005"}]}
        client.post(f"{home}/patients/P1/events", json=sent)
        for path in ("P1.html", "P1/history.html"):
            page = client.get(f"{home}/patients/{path}")
            assert page.status_code == 200
            assert HARMFUL not in page.text
            assert HARMFUL in read(page).words

    def test_without_the_right_to_read_patients_there_is_no_page(self, service):
        fill(service.client(), 1, "mine")
        browser = signed_in(service, Scope.READ, Scope.ANALYSE)
        for path in ("patients", "patients/P00", "patients/P00/history"):
            assert browser.get(f"/v1/studies/mine/{path}.html").status_code == 403


class TestTakingBack:
    @pytest.fixture
    def home(self, client):
        home = make_study(client)
        sent = timeline("P1") | {
            "medications": [{"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d"}],
            "adverse_events": [{"term": "fever", "onset": "2005-04"}, {"id": "e1", "source": "S", "term": "rash"}],
        }
        sent["labs"][0] |= {"id": "n-1", "version": 3, "issued": "2005-03-18T00:00:00Z"}
        client.post(f"{home}/timelines", json=[sent])
        return home

    def form(self, home, patient="P1"):
        return f"/pages{home.removeprefix('/v1')}/patients/{patient}/take-back"

    def test_every_fact_of_every_kind_can_be_taken_back_and_stays_in_the_history(self, client, home):
        rows = keys(read(client.get(f"{home}/patients/P1.html")))
        assert len(rows) == 21
        for left, key in enumerate(rows):
            asked = client.post(self.form(home), data={"fact": key})
            assert "1 fact would no longer count" in asked.text
            done = read(client.post(self.form(home), data={"fact": key, "confirmed": "yes"}))
            assert "The row was taken back" in done.words
            assert f"Receipt: revision {left + 2}." in done.words
        facts = client.get(f"{home}/patients/P1").json()
        assert [facts[name] for name in facts if name != "patient"] == [[], [], [], [], []]
        page = read(client.get(f"{home}/patients/P1.html"))
        assert "What was stored has been taken back." in page.words
        assert page.words.count("it was taken back") == 21

    def test_nothing_changes_before_it_is_confirmed(self, client, home):
        before = client.get(home).json()["revision"]
        [key, *_] = keys(read(client.get(f"{home}/patients/P1.html")))
        asked = read(client.post(self.form(home), data={"fact": key}))
        assert "Take back this row?" in asked.words
        assert client.get(home).json()["revision"] == before
        assert asked.link("Keep it") == f"{home}/patients/P1.html"

    def test_a_late_retry_of_the_sender_does_not_bring_it_back(self, client, home):
        page = read(client.get(f"{home}/patients/P1.html"))
        [key] = [key for key, row in zip(keys(page), page.rows[-21:], strict=True) if row[3:5] == ["CK", "1 000 U/L"]]
        client.post(self.form(home), data={"fact": key, "confirmed": "yes"})
        client.post(f"{home}/timelines", json=[events("P1", timeline("P1")["labs"][1])])
        assert 1000 not in [each["value"] for each in client.get(f"{home}/patients/P1").json()["labs"]]

    def test_a_row_that_somebody_else_changed_is_not_taken_back(self, client, home):
        [key, *_] = keys(read(client.get(f"{home}/patients/P1.html")))
        assert client.post(self.form(home), data={"fact": key, "confirmed": "yes"}).status_code == 200
        again = client.post(self.form(home), data={"fact": key, "confirmed": "yes"})
        assert (again.status_code, "does not count any more" in again.text) == (409, True)

    def test_an_earlier_revision_offers_no_button(self, client, home):
        revision = client.get(home).json()["revision"]
        assert keys(read(client.get(f"{home}/patients/P1.html?revision={revision}"))) == []

    def test_who_may_only_read_is_offered_nothing_and_refused(self, service):
        fill(service.client(), 1, "mine")
        versions = service.client().get("/v1/studies/mine/patients/P00/history?kind=infusion").json()["items"]
        browser = signed_in(service, Scope.READ, Scope.READ_PATIENTS)
        assert keys(read(browser.get("/v1/studies/mine/patients/P00.html"))) == []
        form = self.form("/v1/studies/mine", "P00")
        assert browser.post(form, data={"fact": key_of(versions[0]), "confirmed": "yes"}).status_code == 403

    def test_a_form_without_the_token_of_the_session_takes_nothing_back(self, service):
        fill(service.client(), 1, "mine")
        browser = signed_in(service)
        page = browser.get("/v1/studies/mine/patients/P00.html")
        form, key = self.form("/v1/studies/mine", "P00"), keys(read(page))[0]
        assert browser.post(form, data={"fact": key, "confirmed": "yes", "token": "guessed"}).status_code == 403
        token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
        assert browser.post(form, data={"fact": key, "confirmed": "yes", "token": token}).status_code == 200


def test_days_are_counted_on_the_calendar_of_the_zone_that_the_study_declares():
    def version(kind, **fact):
        return {"kind": kind, "fact": fact, "standing": True, "reason": None}

    infusion = version("infusion", time="2005-04-10T23:30:00Z", product="IVIG")
    other = version("infusion", time="2005-04-01", product="rituximab")
    result = version("lab_result", code="CK", time="2005-04-18", value=1, unit="U/L")
    for zone, day in ((None, 8), ("Asia/Tokyo", 7)):
        versions = [infusion, other, result]
        lines = timeline_of(versions, treatment_began(versions, ["IVIG"], zone), zone)
        assert [line.day for line in lines if line.kind == "lab_result"] == [day]


BOUNDS = (("<", 163, 163), ("<=", 163, 163), (">", 163, 163), (">=", 163, 163), ("<", 400, 163), (None, 163, 163),
          (None, 164, 163), (None, 150, None))  # fmt: skip


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo", "America/St_Johns"])
def test_days_and_sides_of_the_limit_are_those_of_the_series_of_the_same_values(client, zone):
    home = make_study(client, "zoned", **({} if zone is None else {"time_zone": zone}))
    labs = [
        lab(day, value, upper_limit=limit, comparator=sign, time=f"2005-{4 + day // 28:02}-{day % 28 + 1:02}T{hour}Z")
        for day, ((sign, value, limit), hour) in enumerate(zip(BOUNDS, ["23:30:00", "02:10:00"] * 4, strict=True))
    ]
    sent = events("P1", *[{name: part for name, part in each.items() if part is not None} for each in labs])
    sent["infusions"] = [{"time": "2005-04-03T22:00:00Z", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}]
    assert client.post(f"{home}/patients/P1/events", json=sent).status_code == 201
    [series] = client.get(f"{home}/series?measure=CK").json()["items"]
    versions = client.get(f"{home}/patients/P1/history?limit=500").json()["items"]
    lines = timeline_of(versions, treatment_began(versions, ["IVIG"], zone), zone)
    shown = {line.when: (line.day, line.state) for line in lines if line.what == "CK"}
    sides = {True: "normal", False: "above", None: ""}
    assert shown == {
        time: (day, sides[normal])
        for time, day, normal in zip(series["time"], series["day"], series["is_normal"], strict=True)
    }
    assert len(shown) == len(BOUNDS)
