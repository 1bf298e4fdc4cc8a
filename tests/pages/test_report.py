"""The printed report: the same words and figures as page, PDF and Markdown."""

import json
import re
import shutil
import subprocess
import sys
import zlib
from html import unescape

import pytest
from starlette.datastructures import Headers

from app.http.representations import ServedDocument
from app.main import create_app
from app.pages.definitions import in_words, label_in_words
from app.pages.report import PrintedReport, PrintedTable
from app.pages.report_routes import passed_on, written_as
from app.settings import Settings
from tests.api.conftest import BASE
from tests.api.examples import fill
from tests.api.test_server import ROOT, environment, here, with_demo
from tests.documented import Documented

try:
    import weasyprint  # noqa: F401 - it loads Pango, which belongs to the system
except OSError:
    PANGO = False
else:
    PANGO = True
needs_pango = pytest.mark.skipif(not PANGO, reason="no Pango: libpango-1.0-0 and libpangoft2-1.0-0 are not installed")
HOME = "/v1/studies/demo"


PRINTED = f"""
import sys
from app.__main__ import cli
for file in sys.argv[1:]:
    cli(["report", "demo", "-o", file, "--address", "{BASE}"], standalone_mode=False)
"""
"""A program that prints the report of the demonstration study into files."""


@pytest.fixture(scope="module")
def demo_url(migrated_file, tmp_path_factory):
    """A database with the demonstration study, which nothing changes."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('report') / 'demo.db')}"
    with_demo(url)
    return url


@pytest.fixture(scope="module")
def demo(demo_url):
    """The application with the demonstration study."""
    with Documented(create_app(Settings(database_url=demo_url)), base_url=BASE) as client:
        yield client


def words_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def streams(pdf: bytes) -> list[bytes]:
    """What a PDF and its compressed parts hold."""
    found = [pdf]
    for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompress(part))
        except zlib.error:
            found.append(part)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("null", ["true", "false"])
def test_the_report_has_the_chart_of_no_effect_only_where_it_simulates_that_nothing_happens(demo, null):
    charts = set(re.findall(r"/charts/([a-z-]+)\.svg", demo.get(f"{HOME}/report.html?null={null}").text))
    assert ("without-effect" in charts) == (null == "true")
    assert {"flow", "weekly-change", "ck-normal-time"} < charts


def test_page_and_markdown_say_the_same_figures_as_the_answer(demo):
    answer = demo.get(f"{HOME}/analyses").json()
    html, markdown = demo.get(f"{HOME}/report.html").text, demo.get(f"{HOME}/report.md").text
    page = words_of(re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL))
    plain = markdown.replace("\\", "")
    for row in answer["outcomes"]["rows"]:
        label = label_in_words(row["label"], answer["analyses"][row["analysis"]])
        assert label in page
        assert label in plain
        for cell in row["cells"]:
            assert cell["text"]["estimate"] in page
            assert f"| {cell['text']['n']} | {cell['text']['estimate']} | {cell['text']['interval']} |" in plain
    for row in answer["analyses"]["baseline-table"]["table"]["rows"]:
        assert f"| {' | '.join([row['label'], *row['cells']])} |" in plain
    for part in answer["analyses"].values():
        for claim in in_words(part)["claims"]:
            assert claim["code"] == "description" or claim["text"] in page
        for caveat in part["caveats"]:
            assert (caveat["text"] in page) == caveat["applies"]
    assert "MMT response, primary: at least 5 points better than the baseline, judged by the best value of days" in page
    assert "points_above_baseline" not in page + plain
    assert "14/15 (93.3 %)" in page
    assert "334.5" in page


def test_the_level_of_the_intervals_is_the_one_that_was_asked_for(demo):
    for level, said in (("0.9", "90 % CI"), ("0.975", "97.5 % CI")):
        page = words_of(demo.get(f"{HOME}/report.html?level={level}").text).replace("\u00a0", " ")
        assert said in page
        assert "95 % CI" not in page


def test_a_refused_part_is_passed_on_with_its_headers():
    headers = Headers({"content-type": "application/problem+json", "retry-after": "7", "content-length": "2"})
    answer = passed_on(ServedDocument(503, headers, b"{}"))
    assert (answer.status_code, answer.headers["retry-after"], answer.body) == (503, "7", b"{}")


def test_the_page_carries_its_data(demo):
    page = demo.get(f"{HOME}/report.html").text
    held = page.partition('<script type="application/json" id="report-data">')[2].partition("</script>")[0]
    assert json.loads(held) == demo.get(f"{HOME}/analyses").json()


def test_each_address_beside_a_figure_gives_that_revision(demo):
    addresses = set(re.findall(r"<http://[^/]+(/[^>]+)>", demo.get(f"{HOME}/report.md").text))
    assert len(addresses) >= 3
    for address in addresses:
        answer = demo.get(address)
        assert (answer.status_code, answer.json()["revision"]) == (200, 16), address


@needs_pango
@pytest.mark.slow
def test_the_same_revision_gives_the_same_bytes_also_in_another_process(demo, demo_url, tmp_path):
    first = demo.get(f"{HOME}/report.pdf")
    assert (first.status_code, first.headers["content-type"]) == (200, "application/pdf")
    again = demo.get(f"{HOME}/report.pdf", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    pdf, markdown = (tmp_path / name for name in ("1.pdf", "1.md"))
    elsewhere = [sys.executable, "-c", PRINTED, str(pdf), str(markdown)]
    subprocess.run(elsewhere, cwd=ROOT, env=environment(demo_url), check=True)
    assert pdf.read_bytes() == first.content
    assert markdown.read_text() == demo.get(f"{HOME}/report.md").text


def test_the_command_prints_the_address_that_it_is_given(demo, demo_url, tmp_path):
    file = tmp_path / "1.md"
    printed = here("report", "demo", "-o", str(file), "--address", "https://x.example", DATABASE_URL=demo_url)
    assert printed.returncode == 0, printed.stderr
    assert file.read_text() == demo.get(f"{HOME}/report.md").text.replace(BASE, "https://x.example")


@needs_pango
@pytest.mark.slow
def test_the_pdf_is_tagged_dated_by_the_revision_and_carries_its_data(demo):
    parts = streams(demo.get(f"{HOME}/report.pdf").content)
    whole = b"".join(parts)
    assert b"pdfuaid:part" in whole
    assert b"/StructTreeRoot" in whole
    assert b"/Lang" in whole
    as_of = demo.get(f"{HOME}/analyses").json()["as_of"]
    assert f"D:{re.sub(r'[^0-9]', '', as_of)[:14]}".encode() in whole
    assert [json.loads(part)["revision"] for part in parts if part.startswith(b"{")] == [16]


def test_every_text_of_a_client_is_text(client):
    harmful = "<script>alert(1)</script> | [x](javascript:alert(1)) `a` *b*"
    client.put("/v1/studies/odd", json={"name": harmful, "protocol": "seed-2008"})
    page, markdown = client.get("/v1/studies/odd/report.html").text, client.get("/v1/studies/odd/report.md").text
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\<script\\>alert(1)\\</script\\> \\| \\[x\\](javascript:alert(1)) \\`a\\` \\*b\\*" in markdown


def test_a_study_without_data_says_so(client):
    client.put("/v1/studies/empty", json={"name": "E", "protocol": "seed-2008"})
    assert "No treated patient is in this study yet" in client.get("/v1/studies/empty/report.html").text


@needs_pango
def test_a_long_word_is_broken_on_paper_and_leaves_no_table_wider_than_the_page():
    from weasyprint import CSS, HTML

    rows = (("one", "W" * 300), ("W" * 300, "1"), ("W" * 300,))
    table = PrintedTable("Words", ("Name", "Text"), rows)
    report = PrintedReport("Words", "words", 1, "2026-01-01T00:00:00Z", "", "", (table,), b"{}")
    page = HTML(string=written_as("report_print.html", report).decode())
    style = CSS(filename=ROOT / "app" / "pages" / "files" / "print.css")
    laid_out = page.render(stylesheets=[style]).pages[0]._page_box
    [cells] = [box for box in laid_out.descendants() if box.element_tag == "table" and hasattr(box, "column_widths")]
    assert sum(cells.column_widths) <= laid_out.width


@needs_pango
def test_a_study_without_data_is_printed(client):
    client.put("/v1/studies/empty", json={"name": "E", "protocol": "seed-2008"})
    assert client.get("/v1/studies/empty/report.pdf").status_code == 200


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v1/studies/none/report", "*/*", 404),
        ("/v1/studies/none/report.pdf", "*/*", 404),
        ("/v1/studies/trial/report?revision=99", "*/*", 404),
        ("/v1/studies/trial/report?level=2", "*/*", 422),
        ("/v1/studies/trial/report?nothing=1", "*/*", 422),
        ("/v1/studies/trial/report", "image/png", 406),
    ],
)
def test_what_cannot_be_printed_is_refused(client, path, accept, status):
    fill(client, 1)
    answer = client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_the_command_refuses_in_one_line(sqlite_url, tmp_path):
    for arguments, said in (
        (["none", "-o", str(tmp_path / "x.md")], "There is no study of this name."),
        (["none", "-o", str(tmp_path / "x.doc")], "The name of the file ends with .pdf, .html or .md."),
    ):
        done = here("report", *arguments, DATABASE_URL=sqlite_url)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)
        assert not list(tmp_path.glob("x.md"))
