"""The pages of the protocols: in words, side by side, tried on the stored data, and saved."""

import json
import re

import pytest

from app.access.callers import Scope
from app.pages.definitions import parts_of, rule_in_words
from app.pages.protocols import controls_of, differences, with_controls
from app.protocol.endpoints import SteroidRescue, general_form
from app.protocol.presets import PRESETS
from tests.api.examples import fill, make_study
from tests.pages.reading import read
from tests.pages.test_sign_in import signed_in

SEED = PRESETS["seed-2008"].model_dump(mode="json")


def form(home, last=""):
    return f"/pages{home.removeprefix('/v1')}/protocol{last}"


class TestInWords:
    @pytest.mark.parametrize("name", PRESETS)
    def test_each_preset_is_a_page_and_no_sentence_shows_a_code(self, client, name):
        page = read(client.get(f"/v1/protocols/{name}.html"))
        assert PRESETS[name].title in page.words
        sentences = [each for _, part in parts_of(PRESETS[name].model_dump(mode="json")) for each in part]
        assert all(each.endswith((".", ".)")) for each in sentences)
        named = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "MMT8_UNILATERAL")
        assert not [each for each in sentences if "_" in re.sub("|".join(named), "", each) or "None" in each]

    def test_a_declared_steroid_rescue_is_said_in_words(self):
        protocol = PRESETS["seed-2008"].model_dump(mode="json")
        [said] = [each for _, part in parts_of(protocol) for each in part if each.startswith("A rescue treatment")]
        assert "glucocorticoid" not in said
        for steroids, words in (
            ({"rise": 20.0}, "a dose at least 20 mg/d over that of day 0, in"),
            ({"rise": 7.5, "over": "lowest"}, "a dose at least 7.5 mg/d over the lowest dose since then, in"),
            ({"pulse": 250.0}, ": a pulse of at least 250 mg/d, in prednisolone equivalents)"),
            ({"rise": 20.0, "pulse": 250.0}, "over that of day 0 or a pulse of at least 250 mg/d, in"),
        ):
            declared = SteroidRescue(**steroids).model_dump(mode="json")
            own = protocol | {"ck_normal_time": protocol["ck_normal_time"] | {"steroid_rescue": declared}}
            [said] = [each for _, part in parts_of(own) for each in part if each.startswith("A rescue treatment")]
            assert words in said
            assert said.endswith(".")

    def test_a_rule_and_its_general_form_are_the_same_sentence(self):
        rules = [each.rule for preset in PRESETS.values() for each in preset.responses]
        for rule in rules:
            special = rule_in_words(rule.measure, rule.id, rule.model_dump(mode="json"))
            general = general_form(rule)
            assert special == rule_in_words(general.measure, general.id, general.model_dump(mode="json"))

    def test_the_presets_stand_side_by_side_with_what_differs(self, client):
        page = read(client.get("/v1/protocols.html"))
        assert page.rows[0][1:] == list(PRESETS)
        rows = {row[0]: row[1:] for row in page.rows[1:]}
        assert "Treatmentthe same in all" in rows
        assert "MMT is at least 5 points better than the baseline" in rows["Response"][0]
        assert rows["Scores of improvement"][0] == "not declared"

    def test_the_protocol_of_a_study_can_be_read_at_an_earlier_revision_and_is_then_not_tried(self, client):
        home = make_study(client)
        client.put(f"{home}/protocol", json=PRESETS["imacs-2004"].model_dump(mode="json"))
        assert "Protocol imacs-2004" in client.get(f"{home}/protocol.html").text
        then = client.get(f"{home}/protocol.html?revision=0")
        assert "Protocol seed-2008" in then.text
        assert "Try a change" not in then.text

    def test_sentences_that_only_one_protocol_has_are_the_difference(self):
        other = with_controls(SEED, {"responses.0.rule.points": "7"})
        [(title, gone, come)] = differences(SEED, other)
        rule = "MMT is at least {} points better than the baseline, judged by the best value of days 1 to 59 after the "
        assert (title, gone) == ("Response", [rule.format(5) + "first infusion."])
        assert come == [rule.format(7) + "first infusion."]
        assert differences(SEED, SEED) == []


class TestTrying:
    @pytest.mark.parametrize("name", PRESETS)
    def test_the_controls_of_a_protocol_give_the_same_protocol_back(self, name):
        document = PRESETS[name].model_dump(mode="json")
        given = {control.name: control.value for control in controls_of(document)}
        assert with_controls(document, given) == document

    def test_both_figures_are_those_of_the_answers_and_nothing_is_stored(self, client):
        home = fill(client, 3)
        before = client.get(home).json()
        tried = with_controls(SEED, {"responses.0.rule.points": "13"}) | {"id": "own"}
        body = {"protocol": tried}
        rates = [
            client.get(f"{home}/analyses/response-rates"),
            client.post(f"{home}/analyses/response-rates", json=body),
        ]
        first, second = [answer.json()["results"][0] for answer in rates]
        assert (first["responders"], second["responders"], second["evaluable"]) == (3, 0, 3)
        page = read(client.post(form(home, "/try"), data={"responses.0.rule.points": "13"}))
        rows = {row[0]: row[1:] for row in page.rows[1:]}
        assert [cell.partition(" (")[0] for cell in rows["Response by MMT differs"]] == ["3 of 3, 100 %", "0 of 3, 0 %"]
        assert rows["Response by ADL"][0] == rows["Response by ADL"][1]
        assert "You have seen the figures." in page.words
        assert client.get(home).json() == before

    def test_a_preset_and_definitions_as_json_can_be_tried_too(self, client):
        home = fill(client, 1)
        assert (
            "myositis-2026 on the stored data" in client.post(form(home, "/try"), data={"preset": "myositis-2026"}).text
        )
        own = json.dumps({"id": "own", "scales": SEED["scales"]})
        page = read(client.post(form(home, "/try"), data={"protocol": own}))
        assert "own on the stored data" in page.words
        rows = {row[0]: row[1:] for row in page.rows[1:]}
        assert rows["Response by MMT differs"][1] == "not declared"

    @pytest.mark.parametrize(
        ("given", "status", "place"),
        [
            ({"responses.0.rule.points": "many"}, 422, "/protocol/responses/0/rule/points"),
            ({"responses.0.rule.points": "-5"}, 422, "/protocol/responses/0/rule/points"),
            ({"ck_normal_time.rescue": "guess"}, 422, "/protocol/ck_normal_time/rescue"),
            ({"protocol": '{"id": "own", "colour": 1}'}, 422, "/protocol"),
            ({"protocol": "no json"}, 400, ""),
        ],
    )
    def test_what_is_no_protocol_is_refused_with_its_place(self, client, given, status, place):
        home = make_study(client)
        answer = client.post(form(home, "/try"), data=given)
        assert (answer.status_code, place in answer.text) == (status, True)
        assert "many" not in answer.text

    def test_a_study_without_data_can_try_too(self, client):
        home = make_study(client)
        page = read(client.post(form(home, "/try"), data={"preset": "relative-20"}))
        assert page.rows[1][1:] == ["0 of 0", "0 of 0"]


class TestSaving:
    def fields(self, client, home, **given):
        page = read(client.post(form(home, "/try"), data=given))
        return {name: page.fields[name][0] for name in ("protocol", "tag", "name", "token")}

    def test_what_was_tried_is_declared_under_its_name(self, client):
        home = fill(client, 1)
        fields = self.fields(client, home, **{"responses.0.rule.points": "7"})
        assert fields["name"] == "seed-2008-changed"
        saved = client.post(form(home), data=fields | {"name": "ours"}, follow_redirects=False)
        assert (saved.status_code, saved.headers["location"]) == (303, f"{home}/protocol.html")
        declared = client.get(f"{home}/protocol").json()
        assert (declared["id"], declared["responses"][0]["rule"]["points"]) == ("ours", 7)
        answer = client.get(f"{home}/analyses/response-rates").json()
        assert answer["provenance"]["protocol_changed_after_first_outcome"] is True

    def test_a_protocol_that_somebody_else_declared_meanwhile_is_not_overwritten(self, client):
        home = make_study(client)
        fields = self.fields(client, home, **{"responses.0.rule.points": "7"})
        client.put(f"{home}/protocol", json=PRESETS["imacs-2004"].model_dump(mode="json"))
        assert client.post(form(home), data=fields).status_code == 412
        assert client.get(f"{home}/protocol").json()["id"] == "imacs-2004"

    def test_a_changed_protocol_cannot_take_the_name_of_a_preset(self, client):
        home = make_study(client)
        fields = self.fields(client, home, **{"responses.0.rule.points": "7"})
        refused = client.post(form(home), data=fields | {"name": "seed-2008"})
        assert (refused.status_code, "choose an id of your own" in refused.text) == (422, True)

    def test_who_may_not_declare_is_offered_no_form_and_refused(self, service):
        make_study(service.client(), "mine")
        browser = signed_in(service, Scope.READ, Scope.ANALYSE)
        page = browser.get("/v1/studies/mine/protocol.html")
        token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
        home = "/v1/studies/mine"
        tried = browser.post(form(home, "/try"), data={"preset": "relative-20", "token": token})
        assert (tried.status_code, "Save and declare it" in tried.text) == (200, False)
        own = json.dumps(PRESETS["relative-20"].model_dump(mode="json"))
        assert browser.post(form(home), data={"protocol": own, "token": token}).status_code == 403
