"""What a caller may do and what it may know of."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.access.callers import ALL_SCOPES, Caller, Scope
from tests.api.examples import JSON, fill, lab, make_study, timeline
from tests.trust.operations_by_role import attempts

FEW = [
    "GET /livez",
    "GET /v1/studies/{study}",
    "PUT /v1/studies/{study}",
    "GET /v1/studies/{study}/comparisons/{other}",
]


def test_every_role_gets_what_it_may_and_nothing_else():
    tried, wrong = attempts(FEW, full=True)
    assert (tried, wrong) == (285, [])


@pytest.mark.parametrize("broken", ["require", "require_study"])
def test_the_trial_of_all_operations_notices_a_door_that_is_open(monkeypatch, broken):
    """The control of the harness."""
    monkeypatch.setattr(Caller, broken, lambda self, what: None)
    assert attempts(FEW[1:3], full=False)[1] != []


def test_a_study_that_one_may_not_know_of_looks_as_one_that_is_absent(service):
    make_study(service.client(), "there")
    restricted, everywhere = service.client(studies=["mine"]), service.client()
    for path in ("", "/patients", "/patients/P1", "/analyses/safety", "/revisions", "/datasets/adsl.csv"):
        answers = [
            restricted.get(f"/v1/studies/there{path}"),
            restricted.get(f"/v1/studies/absent{path}"),
            everywhere.get(f"/v1/studies/absent{path}"),
        ]
        texts = {each.text.replace(each.json()["instance"], "") for each in answers}
        kept = [
            {name: value for name, value in each.headers.items() if name not in {"date", "x-request-id"}}
            for each in answers
        ]
        assert {each.status_code for each in answers} == {404}
        assert (len(texts), kept[0], kept[1]) == (1, kept[2], kept[2]), path
    outcome = restricted.get("/fhir/there/Patient/x")
    assert (outcome.status_code, outcome.json()["resourceType"]) == (404, "OperationOutcome")


def test_patients_are_named_to_those_who_may_read_them(service):
    fill(service.client(), 2)
    analyst = service.client([Scope.ANALYSE])
    assert analyst.get("/v1/studies/trial/changes").status_code == 200
    assert analyst.get("/v1/studies/trial/changes?patients=true").status_code == 403
    both = service.client([Scope.ANALYSE, Scope.READ_PATIENTS])
    items = both.get("/v1/studies/trial/changes?patients=true").json()["items"]
    assert [each["patients"] for each in items] == [["P00"], ["P01"]]
    assert service.client([Scope.READ]).get("/v1/studies/trial/changes").status_code == 403


def test_a_key_for_some_studies_makes_only_these(service):
    restricted = service.client([Scope.ADMIN], ["mine"])
    declared = {"name": "T", "protocol": "seed-2008"}
    assert restricted.put("/v1/studies/mine", json=declared).status_code == 201
    assert restricted.put("/v1/studies/other", json=declared).status_code == 404
    assert [each["id"] for each in service.client().get("/v1/studies").json()["items"]] == ["mine"]


def test_to_readmit_an_erased_person_needs_the_scope_admin(service):
    client = service.client()
    home = make_study(client)
    client.put(f"{home}/patients/P1", json=timeline("P1"))
    assert client.delete(f"{home}/patients/P1?erase=true").status_code == 204
    readmit = f"{home}/patients/P1?readmit=true"
    assert service.client([Scope.INGEST]).put(readmit, json=timeline("P1")).status_code == 403
    assert client.put(readmit, json=timeline("P1")).status_code == 201


@pytest.mark.parametrize("question", ["response-rates?patients=true", "what-is-missing", "?patients=true"])
def test_an_answer_that_lists_what_each_patient_has_needs_the_scope_read_patients(service, question):
    client = service.client()
    home = make_study(client)
    client.put(f"{home}/patients/P1", json=timeline("P1"))
    address = f"{home}/analyses/{question}".replace("/?", "?")
    both = service.client([Scope.ANALYSE, Scope.READ_PATIENTS])
    tag = both.get(address).headers["etag"]
    figures = service.client([Scope.ANALYSE])
    assert figures.get(f"{home}/analyses/response-rates").status_code == 200
    for kept in ({}, {"If-None-Match": tag}, {"If-None-Match": "*"}):
        refused = figures.get(address, headers=kept)
        assert (refused.status_code, "P1" in refused.text) == (403, False)
        assert 'scope="read-patients"' in refused.headers["www-authenticate"]


def test_a_refusal_for_want_of_a_scope_names_it(service):
    refused = service.client([Scope.READ]).get("/v1/studies/x/patients")
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == (
        'Bearer realm="myoresponse", error="insufficient_scope", scope="read-patients"'
    )
    assert refused.json()["detail"] == "This needs the scope `read-patients`."


def test_hl7v2_over_http_is_refused_as_everything_else(service):
    message = {"content": b"MSH|", "headers": {"Content-Type": "application/hl7-v2"}}
    address = "/v1/studies/trial/hl7v2"
    assert service.stranger.post(address, **message).status_code == 401
    assert service.client([Scope.READ]).post(address, **message).status_code == 403
    assert service.client([Scope.INGEST], ["other"]).post(address, **message).status_code == 404


class TwoClients(RuleBasedStateMachine):
    """Two clients, each with a key for one study, and two studies. A model says what each may see."""

    service: Any

    @initialize()
    def begin(self) -> None:
        for stored in self.service.keys.all():
            self.service.keys.revoke(stored.prefix, 1)
        self.admin = self.service.client()
        self.round = f"r{len(self.service.keys.all())}"
        self.names = {which: f"{self.round}-{which}" for which in "ab"}
        self.patients: dict[str, set[str]] = {"a": set(), "b": set()}
        self.made: set[str] = set()
        self.scopes: dict[str, frozenset[Scope]] = {}
        self.clients: dict[str, Any] = {}
        for which in "ab":
            self.give(which, ALL_SCOPES)

    def give(self, which: str, scopes: frozenset[Scope]) -> None:
        self.scopes[which], self.clients[which] = scopes, self.service.client(scopes, [self.names[which]])

    @rule(which=st.sampled_from("ab"), scopes=st.frozensets(st.sampled_from(list(Scope)), min_size=3))
    def new_key(self, which: str, scopes: frozenset[Scope]) -> None:
        old = self.clients[which].headers["authorization"].split("_")[1]
        self.service.keys.revoke(old, 1)
        gone = self.clients[which]
        self.give(which, scopes)
        assert gone.get("/v1/studies").status_code == 401

    @rule(which=st.sampled_from("ab"), at=st.sampled_from("ab"))
    def declare(self, which: str, at: str) -> None:
        answer = self.clients[which].put(f"/v1/studies/{self.names[at]}", json={"name": "T", "protocol": "seed-2008"})
        if Scope.ADMIN not in self.scopes[which]:
            assert answer.status_code == 403
        elif which != at:
            assert answer.status_code == 404
        else:
            assert answer.status_code == (200 if at in self.made else 201)
            self.made.add(at)

    @rule(which=st.sampled_from("ab"), at=st.sampled_from("ab"), patient=st.sampled_from(["P1", "P2"]))
    def post(self, which: str, at: str, patient: str) -> None:
        answer = self.clients[which].post(
            f"/v1/studies/{self.names[at]}/patients/{patient}/events",
            json={"patient": {"id": patient}, "labs": [lab(1, 200 + len(which))]},
            headers=JSON,
        )
        if Scope.INGEST not in self.scopes[which]:
            assert answer.status_code == 403
        elif which != at or at not in self.made:
            assert answer.status_code == 404
        else:
            assert answer.status_code in {200, 201}
            self.patients[at].add(patient)

    @rule(which=st.sampled_from("ab"), at=st.sampled_from("ab"), patient=st.sampled_from(["P1", "P2"]))
    def read(self, which: str, at: str, patient: str) -> None:
        answer = self.clients[which].get(f"/v1/studies/{self.names[at]}/patients/{patient}")
        if Scope.READ_PATIENTS not in self.scopes[which]:
            assert answer.status_code == 403
        else:
            seen = which == at and patient in self.patients[at]
            assert answer.status_code == (200 if seen else 404)

    @invariant()
    def lists_show_only_what_is_theirs(self) -> None:
        if not hasattr(self, "clients"):
            return
        for which in "ab":
            answer = self.clients[which].get("/v1/studies")
            if Scope.READ in self.scopes[which]:
                expected = [self.names[which]] if which in self.made else []
                assert [each["id"] for each in answer.json()["items"]] == expected
            else:
                assert answer.status_code == 403


@pytest.mark.slow
def test_two_clients_never_see_or_change_each_other_s_study(service):
    TwoClients.service = service
    chosen = settings(
        settings.get_profile(settings.get_current_profile_name()),
        max_examples=15,
        stateful_step_count=20,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(TwoClients, settings=chosen)
