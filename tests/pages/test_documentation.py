"""The documentation as a site: every file is a page, every link leads somewhere, and a search finds what is written."""

import re
import zipfile

import pytest

from app.pages import documentation
from app.pages.documentation import ABOVE, DOCS, contents, files, page_of, search
from tests.journeys.test_wheel import ROOT, build
from tests.pages.test_home import Page

NAMES = sorted(files())


def ids(page):
    return set(re.findall(r' id="([^"]+)"', page.html))


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_to_a_page_and_a_heading_that_are_there(name):
    for link in re.findall(r'href="([^"]+)"', page_of(name).html):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        if path in {"{root}/openapi.yaml", "{root}/docs/api"}:
            continue
        target = name if not path else (path.removeprefix("{root}/docs").lstrip("/") or "index")
        assert target in files(), link
        assert not anchor or anchor in ids(page_of(target)), link


def test_a_link_that_leads_nowhere_is_seen(monkeypatch, tmp_path):
    (tmp_path / "odd.md").write_text("# Odd\n\n[there](#odd) [nowhere](#none) [code](../app/main.py) [gone](gone.md)\n")
    monkeypatch.setitem(files(), "odd", tmp_path / "odd.md")
    page = documentation.page_of.__wrapped__("odd")
    assert 'href="#odd"' in page.html
    assert "#none" not in {f"#{anchor}" for anchor in ids(page)}
    assert "<span>code</span> <span>gone</span>" in page.html


def test_the_contents_name_every_page_once_in_four_groups():
    groups = contents()
    assert [title for title, _ in groups] == ["Tutorial", "How to", "Reference", "Explanations"]
    named = [entry.name for _, entries in groups for entry in entries]
    assert sorted(named) == sorted({*files(), "api"} - {"index"})


def test_each_page_is_open_without_a_key_and_has_one_title(service):
    browser = service.with_key("")
    del browser.headers["Authorization"]
    for path in (
        "/docs",
        "/docs/api",
        *(f"/docs/{name}" for name in ("tutorial", "definitions", "readme", "changelog")),
    ):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
    page = Page(browser.get("/docs/tutorial").text)
    for address in page.addresses:
        if not address.startswith(("#", "http", "/v1/")) and address != "/":
            assert browser.get(address).status_code == 200, address
    assert browser.get("/docs/none").status_code == 404


def test_every_page_has_one_first_heading_and_no_script():
    for name in NAMES:
        page = page_of(name)
        assert [heading.level for heading in page.headings].count(1) == 1, name
        assert len(ids(page)) == len(re.findall(r' id="', page.html)), name
        assert not re.search(r"<script|<iframe|javascript:| on\w+=", page.html), name


def test_markup_in_a_file_is_shown_and_comments_are_left_out(monkeypatch, tmp_path):
    (tmp_path / "odd.md").write_text("# Odd\n\n<script>alert(1)</script>\n\n<!-- hidden -->\n\na <b onclick=x>b</b>\n")
    monkeypatch.setitem(files(), "odd", tmp_path / "odd.md")
    html = documentation.page_of.__wrapped__("odd").html
    assert "&lt;script&gt;" in html
    assert "&lt;b onclick=x&gt;" in html
    assert "hidden" not in html


def test_a_search_finds_passages_with_all_words_and_leads_to_their_headings(client):
    found = search("pseudonym secret")
    assert found[0].address.startswith("/docs/")
    assert all("secret" in f"{each.heading} {each.excerpt}".lower() or each.page for each in found)
    page = client.get("/docs/search?q=worklist").text
    assert 'href="/docs/intake#the-worklist"' in page
    assert "No passage has every word" in client.get("/docs/search?q=xyzzyx").text
    assert "<script>alert" not in client.get("/docs/search?q=<script>alert(1)</script>").text
    assert client.get("/docs/search").status_code == 200
    assert search("...") == search("worklist xyzzyx") == []


def test_behind_a_proxy_links_have_its_prefix(serve, sqlite_url):
    client = serve(sqlite_url, root_path="/myo")
    assert 'href="/myo/docs/feeds#receipts"' in client.get("/docs/intake").text


@pytest.mark.slow
def test_the_wheel_has_every_page(tmp_path):
    wheel = next(file for file in build(ROOT, tmp_path, "wheel") if file.suffix == ".whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("app/docs/")}
    assert inside == {f"app/docs/{file.name}" for file in DOCS.glob("*.md")} | {f"app/docs/{name}" for name in ABOVE}
