"""No key is asked of a program on this machine; everybody else needs one."""

import pytest
from fastapi.testclient import TestClient

from app.access.operations import FORMS, KNOWN, NEEDS, OPEN
from app.http.authentication import needs_key
from app.http.rooms import every_route
from app.main import create_app
from app.settings import Settings
from tests.access.conftest import BASE

LOCAL = {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5000), "headers": [(b"host", b"127.0.0.1:8000")]}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - never listened on


def scope(**changed):
    headers = [*LOCAL["headers"], *changed.pop("more", [])]
    return {"type": "http", **LOCAL, "headers": headers, **changed}


def test_a_program_on_this_machine_is_not_asked():
    for server, client, host in (
        ("127.0.0.1", "127.0.0.1", b"localhost"),
        ("::1", "::1", b"[::1]:8000"),
        ("127.0.0.9", "127.0.0.9", b"LOCALHOST:1"),
        ("::1", "::1", b"[::1]"),
    ):
        sent = scope(server=(server, 8000), client=(client, 5000), headers=[(b"host", host)])
        assert not needs_key(Settings(), sent)


@pytest.mark.parametrize(
    "changed",
    [
        {"server": ("10.0.0.7", 8000)},
        {"client": ("10.0.0.8", 5000)},
        {"server": ("10.0.0.7", 8000), "client": ("10.0.0.7", 5000)},
        {"server": ("::ffff:10.0.0.7", 8000)},
        {"server": ("/run/myo.sock", None)},
        {"server": None},
        {"client": None},
        {"client": ("testclient", 50000)},
        {"server": ("", 80)},
        {"headers": []},
        {"headers": [(b"host", b"myo.hospital.example")]},
        *(
            {"more": [(name, b"127.0.0.1")]}
            for name in (
                b"forwarded",
                b"x-forwarded-for",
                b"x-forwarded-proto",
                b"x-forwarded",
                b"via",
                b"x-real-ip",
                b"x-original-forwarded-for",
                b"x-envoy-external-address",
                b"x-remote-ip",
                b"fly-client-ip",
                b"cdn-loop",
                b"fastly-client-ip",
                b"x-azure-clientip",
            )
        ),
    ],
)
def test_whoever_cannot_be_recognised_as_local_is_asked(changed):
    assert needs_key(Settings(), scope(**changed))


def test_the_settings_ask_everybody_or_nobody():
    foreign = scope(server=("10.0.0.7", 8000), client=("10.0.0.8", 1))
    assert needs_key(Settings(host=EVERYWHERE), scope())
    assert needs_key(Settings(require_keys=True), scope())
    assert not needs_key(Settings(host=EVERYWHERE, allow_unauthenticated=True), foreign)
    with pytest.raises(ValueError, match="must not be set together"):
        Settings(require_keys=True, allow_unauthenticated=True)


def operations() -> set[str]:
    routes = every_route(create_app(Settings.model_construct()))
    return {
        f"{method} {route.path}"
        for route in routes
        for method in (getattr(route.original_route, "methods", None) or {"GET"}) - {"HEAD"}
    }


def test_every_operation_is_open_or_needs_a_scope_and_nothing_else_is_listed():
    assert operations() == set(NEEDS) | OPEN | KNOWN | FORMS
    assert not set(NEEDS) & OPEN


def test_what_is_open_to_everybody_is_about_no_study():
    assert [operation for operation in OPEN if "study" in operation or not operation.startswith("GET ")] == []


def test_a_service_at_another_address_is_closed_however_it_is_started(url):
    app = create_app(Settings(database_url=url, allowed_hosts="10.0.0.7"))
    with TestClient(app, base_url="http://10.0.0.7:8000", client=("10.0.0.8", 5000)) as client:
        for path in ("/v1/studies", "/v1/protocols", "/fhir/x/metadata", "/nothing", "/v1/studies/x/patients/y"):
            assert client.get(path).status_code == 401, path
        assert client.put("/v1/studies/x", json={}).status_code == 401
        assert client.options("/v1/studies").status_code == 401
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}


def test_a_proxy_on_this_machine_is_recognised_by_the_header_that_it_adds(url):
    with TestClient(create_app(Settings(database_url=url)), base_url=BASE) as client:
        assert client.get("/v1/studies").status_code == 200
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"):
            assert client.get("/v1/studies", headers={name: "127.0.0.1"}).status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_reads_nothing_of_a_local_service(url, site):
    settings = Settings(database_url=url, cors_origins="https://app.example")
    with TestClient(create_app(settings), base_url=BASE) as client:
        sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        for method in ("GET", "HEAD"):
            assert client.request(method, "/v1/studies", headers=sent).status_code == 403
        assert client.get("/v1/studies", headers=sent | {"Origin": "https://evil.example"}).status_code == 403
        framed = sent | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        assert client.get("/docs", headers=framed).status_code == 403
        followed = sent | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get("/docs", headers=followed).status_code == 200
        assert client.get("/v1/studies", headers=sent | {"Origin": "https://app.example"}).status_code == 200
        for own in ("same-origin", "none"):
            assert client.get("/v1/studies", headers=sent | {"Sec-Fetch-Site": own}).status_code == 200


def test_a_stranger_reads_what_is_open_and_no_detail(service):
    service.client().put("/v1/studies/hidden", json={"name": "Hidden name", "protocol": "seed-2008"})
    for path in ("/", "/docs", "/openapi.yaml", "/openapi.json", "/problems", "/problems/unauthorized"):
        answer = service.stranger.get(path)
        assert answer.status_code == 200, path
        assert "Hidden name" not in answer.text
    home = service.stranger.get("/").text
    assert "0.1.0" not in home
    assert "Every request needs an API key or a token." in home
    assert "version" not in service.stranger.get("/", headers={"Accept": "application/json"}).json()
    assert service.stranger.get("/docs/files/swagger-ui.css").status_code == 200
    assert service.stranger.head("/livez").status_code == 200
    assert service.stranger.post("/livez").status_code == 401


def test_the_page_shows_a_caller_the_studies_it_may_know_of(service):
    for study in ("mine", "other"):
        service.client().put(f"/v1/studies/{study}", json={"name": f"Study {study}", "protocol": "seed-2008"})
    page = service.client(["read"], ["mine"]).get("/").text
    assert "Study mine" in page
    assert "Study other" not in page
    assert "Study" not in service.client(["ingest"]).get("/").text.replace("Studies", "")


def test_the_service_says_whom_it_asks(url):
    with TestClient(create_app(Settings(database_url=url)), base_url=BASE) as client:
        said = "Programs on this machine need no key; every other request needs one."
        assert said in client.get("/").text
        assert client.get("/", headers={"Accept": "application/json"}).json()["keys"] == said


def test_a_refusal_for_want_of_a_key_says_how_to_give_one_and_nothing_else(service):
    refused = service.stranger.get("/v1/studies/x/patients?limit=wrong")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="myoresponse"'
    document = refused.json()
    assert (document["type"], document["errors"]) == ("/problems/unauthorized", [])
    wrong = service.stranger.get("/v1/studies/x/patients?limit=wrong", headers={"Authorization": "Bearer nonsense"})
    assert wrong.headers["www-authenticate"] == 'Bearer realm="myoresponse", error="invalid_token"'
    assert {**wrong.json(), "instance": ""} == {**document, "instance": ""}
    outcome = service.stranger.get("/fhir/x/Patient/y").json()
    assert (outcome["resourceType"], outcome["issue"][0]["code"]) == ("OperationOutcome", "login")


@pytest.mark.parametrize(
    "given",
    [
        ["Basic bXlvOm15bw=="], ["{key}"], ["Bearer"], ["Bearer  "], ["Token {key}"], ["Bearer {key}", "Bearer {key}"],
        ["Bearer {key},Bearer {key}"], ["Bearer {key} x"], ["Bearer {upper}"], [""],
    ],
)  # fmt: skip
def test_credentials_in_another_form_are_refused(service, given):
    key = service.key()
    headers = [("Authorization", text.format(key=key, upper=key.upper())) for text in given]
    assert service.stranger.get("/v1/studies", headers=headers).status_code == 401
    assert service.stranger.get("/livez", headers=headers).status_code == 401
    assert service.stranger.get("/v1/studies", headers={"Authorization": f"bearer  {key}"}).status_code == 200


def test_on_this_machine_a_key_is_honoured_and_a_header_for_somebody_else_is_not_read(start, url):
    service = start(url, require_keys=False)
    assert service.stranger.get("/v1/studies", headers={"Authorization": "Basic eDp4"}).status_code == 200
    assert service.stranger.get("/v1/studies", headers={"Authorization": "Bearer for.somebody.else"}).status_code == 200
    assert service.with_key(service.key(["read"], ["a"])).get("/v1/studies/b").status_code == 404
    assert service.with_key("myo_00000000_" + "a" * 43).get("/v1/studies").status_code == 401


def test_one_request_does_not_make_the_next_one_known(service):
    known = service.client()
    for _ in range(5):
        assert known.get("/v1/studies").status_code == 200
        assert service.stranger.get("/v1/studies").status_code == 401


def test_an_operation_without_a_scope_is_refused_to_everybody(service):
    asked = []

    @service.stranger.app.get("/v1/new-operation")
    def new_operation() -> None:
        asked.append(1)

    assert service.client().get("/v1/new-operation").status_code == 403
    assert asked == []
