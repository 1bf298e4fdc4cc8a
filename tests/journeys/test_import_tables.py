"""The command imports tables of every kind, and tables whose layout the study declares."""

import pytest

from tests.api.demonstration_tables import MAPPING, redcap, six_tables, timelines
from tests.journeys.command_line import Place
from tests.journeys.conftest import service


@pytest.fixture
def here(tmp_path):
    """A service on SQLite, the command line on its database, and a directory."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        yield Place(client, url, tmp_path)


def test_each_header_shows_the_kind_of_its_table(here):
    files = [here.write(f"{kind}.csv", table) for kind, table in six_tables().items()]
    ended = here.run("import", *files, "--study", "trial")
    assert (ended.exit_code, "not ours" in ended.output) == (0, False), ended.output
    here.study("native")
    here.run("import", here.write("demo.ndjson", timelines()), "--study", "native")
    assert here.digest("trial") == here.digest("native")


def test_a_declared_layout_reads_a_table_in_parts(here):
    here.study("redcap", tables=[MAPPING])
    here.study("native")
    here.run("import", here.write("demo.ndjson", timelines()), "--study", "native")
    export = here.write("export.csv", redcap())
    ended = here.run("import", export, "--study", "redcap", "--mapping", "redcap", MAX_BODY_BYTES="20000")
    assert ended.exit_code == 0, ended.output
    assert here.digest("redcap") == here.digest("native")


def test_rows_that_are_set_aside_are_written_with_their_lines_and_can_be_mended(here):
    table = "Pat;Datum;Dosis\nP01;11.4.2005;0,4\nP02;2005-04-11;0,4\nP03;12.4.2005;0.4\n"
    options = (
        "--study", "trial", "--kind", "infusions", "--delimiter", ";", "--decimal", ",", "--dates", "DD.MM.YYYY",
        "--columns", "Pat:patient,Datum:time,Dosis:dose", "--constants", "product:IVIG,unit:g/kg",
    )  # fmt: skip
    rejects = here.folder / "rejects.csv"
    ended = here.run("import", here.write("i.csv", table), *options, "--rejects", rejects)
    assert ended.exit_code == 1
    assert rejects.read_text() == "Pat;Datum;Dosis\nP02;2005-04-11;0,4\nP03;12.4.2005;0.4\n"
    assert "/3/time bad_time" in ended.output
    assert "/4/dose bad_number" in ended.output
    mended = rejects.read_text().replace("2005-04-11", "11.04.2005").replace("0.4", "0,4")
    assert here.run("import", here.write("mended.csv", mended), *options).exit_code == 0
    assert len(here.read("trial")) == 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--kind", "scans"), "--kind accepts patients, labs"),
        (("--dates", "today"), "--dates accepts YYYY-MM-DD"),
        (("--charset", "EBCDIC"), "--charset accepts US-ASCII"),
        (("--time-zone", "Tokyo"), "--time-zone accepts a name such as Asia/Tokyo"),
        (("--columns", "a:time"), "--columns, the kind of the tables must be given"),
        (("--kind", "labs", "--columns", "a:time,b:time"), "--columns: A field is declared twice"),
        (("--mapping", "redcap"), "--mapping: The study does not declare a table of this name."),
        (("--mapping", "redcap", "--kind", "labs"), "give no other option"),
    ],
)
def test_options_that_are_not_clear_end_the_command_in_one_line(here, options, why):
    ended = here.run("import", here.write("a.csv", "patient\nP01\n"), "--study", "trial", *options)
    assert (ended.exit_code, why in ended.output, ended.output.count("\n")) == (2, True, 1), ended.output
    assert here.read("trial") == {}
