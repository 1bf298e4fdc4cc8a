"""The page at the root."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from tests.api.examples import fill


class Page(HTMLParser):
    """The links, files and attributes that a browser would use from the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name in {"href", "src"}:
                self.addresses.append(value)


def test_it_names_the_studies_and_all_its_addresses_answer(client):
    fill(client, 2)
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "2 patients" in answer.text
    page = Page(answer.text)
    assert "/v1/studies/trial/analyses" in page.addresses
    assert {"/docs", "/openapi.yaml", "/problems", "/v1/protocols"} <= set(page.addresses)
    for address in page.addresses:
        assert address == "data:," or client.get(address).status_code == 200, address


def test_nothing_on_it_is_loaded_and_nothing_runs(client):
    answer = client.get("/")
    page = Page(answer.text)
    assert page.elements & {"script", "img", "iframe", "form"} == set()
    assert "style" not in page.attributes
    assert [name for name in page.attributes if name.startswith("on")] == []
    assert "@import" not in answer.text
    assert "url(" not in answer.text
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    assert answer.headers["cache-control"] == "no-store"


def test_it_is_made_for_a_telephone_the_dark_and_a_screen_reader(client):
    text = client.get("/").text
    assert '<html lang="en">' in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r"<(h\d)", text)[0] == "h1"
    assert text.count("<h1") == text.count("<main") == 1
    assert all(f'id="{label}"' in text for label in re.findall(r'aria-labelledby="(\w+)"', text))
    assert 'role="img" aria-label="' in text


def test_the_name_of_a_study_is_text_whatever_stands_in_it(client):
    name = """<script>alert("1")</script> & ${version} 'x'"""
    client.put("/v1/studies/odd", json={"name": name, "protocol": "seed-2008"})
    text = client.get("/").text
    assert "<script" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; ${version} &#x27;x&#x27;" in text


def test_without_a_study_it_says_how_to_get_one(client):
    assert "python -m app demo" in client.get("/").text


def test_a_study_that_does_not_fit_on_it_is_in_the_list(client, monkeypatch):
    from app.api import home

    monkeypatch.setattr(home, "MOST_STUDIES", 1)
    for name in ("a", "b"):
        assert 'href="/v1/studies"' not in client.get("/").text
        client.put(f"/v1/studies/{name}", json={"name": name, "protocol": "seed-2008"})
    page = Page(client.get("/").text)
    assert "/v1/studies" in page.addresses
    assert "/v1/studies/b/analyses" not in page.addresses


def test_a_program_that_asks_for_json_is_given_the_addresses(client):
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert "Accept" in answer.headers["vary"]
    found = answer.json()
    assert found.pop("service") == "MyoResponse"
    found.pop("version")
    assert found.pop("keys") == "Programs on this machine need no key; every other request needs one."
    assert {name: client.get(address).status_code for name, address in found.items()} == {
        "studies": 200, "protocols": 200, "problems": 200, "docs": 200, "openapi": 200,
    }  # fmt: skip
    browser = {"Accept": "text/html,application/xhtml+xml,application/json;q=0.9"}
    assert client.get("/", headers=browser).headers["content-type"].startswith("text/html")
