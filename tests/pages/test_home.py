"""The page of the studies, which is the first one."""

import re
from html.parser import HTMLParser

from app.pages.site import POLICY
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


def put(client, *studies):
    for study in studies:
        client.put(f"/v1/studies/{study}", json={"name": study, "protocol": "seed-2008"})


def test_it_names_the_studies_and_all_its_addresses_answer(client):
    fill(client, 2)
    put(client, "second")
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "2 patients" in answer.text
    page = Page(answer.text)
    assert {"/v1/studies/trial.html", "/docs", "/openapi.yaml", "/v1/protocols.html"} <= set(page.addresses)
    for address in page.addresses:
        assert address == "#main" or client.get(address).status_code == 200, address


def test_with_one_study_it_leads_to_it(client):
    put(client, "only")
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/studies/only.html")
    assert "only" in client.get("/v1/studies.html").text


def test_scripts_and_styles_come_from_files_alone(client):
    answer = client.get("/v1/studies.html")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    page = Page(answer.text)
    assert {"style", "iframe"} & (page.elements | page.attributes) == set()
    assert [name for name in page.attributes if name.startswith("on")] == []
    assert "<script>" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_the_files_of_the_pages_may_be_kept_for_ever_and_their_addresses_change_with_them(client):
    page = Page(client.get("/v1/studies.html").text)
    files = [address for address in page.addresses if address.startswith("/pages/files/")]
    assert len(files) >= 3
    for file in files:
        assert client.get(file).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get(files[0].replace(files[0].split("/")[3], "0" * 16)).status_code == 404


def test_it_is_made_for_a_telephone_and_a_screen_reader(client):
    text = client.get("/v1/studies.html").text
    assert '<html lang="en">' in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert re.findall(r"<(h\d)", text)[0] == "h1"
    assert text.count("<h1") == text.count("<main") == 1
    assert all(f'id="{label}"' in text for label in re.findall(r'aria-labelledby="([\w-]+)"', text))


def test_the_name_of_a_study_is_text_whatever_stands_in_it(client):
    name = """<script>alert("1")</script> & ${version} {{ 7 * 7 }} 'x'"""
    client.put("/v1/studies/odd", json={"name": name, "protocol": "seed-2008"})
    text = client.get("/v1/studies.html").text
    assert "<script>" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; ${version} {{ 7 * 7 }} &#39;x&#39;" in text


def test_without_a_study_it_says_how_to_get_one(client):
    assert "python -m app demo" in client.get("/").text


def test_studies_that_do_not_fit_on_it_are_on_the_next_page(client):
    put(client, "a", "b")
    first = client.get("/v1/studies.html?limit=1").text
    following = re.search(r'href="(/v1/studies\.html\?[^"]+)">More studies', first)
    assert following is not None
    assert '"/v1/studies/b.html"' in client.get(following[1].replace("&amp;", "&")).text


def test_a_program_that_asks_for_json_is_given_the_addresses(client):
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert "Accept" in answer.headers["vary"]
    found = answer.json()
    assert found.pop("service") == "MyoResponse"
    found.pop("version")
    assert found.pop("first_steps")[0]["title"] == "Who responded?"
    assert found.pop("keys") == "Programs on this machine need no key; every other request needs one."
    assert {name: client.get(address).status_code for name, address in found.items()} == {
        "studies": 200, "protocols": 200, "problems": 200, "docs": 200, "openapi": 200,
    }  # fmt: skip
    browser = {"Accept": "text/html,application/xhtml+xml,application/json;q=0.9"}
    put(client, "a", "b")
    assert client.get("/", headers=browser).headers["content-type"].startswith("text/html")
