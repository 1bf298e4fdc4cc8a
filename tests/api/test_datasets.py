"""The datasets over HTTP: formats, versions, refusals, and every row's way back to its facts."""

import asyncio
import csv
import io
import sys
import time

import pytest
from anyio import to_thread
from pyarrow import parquet

from app import SOFTWARE
from app.datasets import NAMES
from app.errors import ServiceError
from app.http.file_in_parts import FileInParts
from app.protocol.presets import RELATIVE_20, SEED_2008
from app.settings import Settings
from app.store import timelines as timelines_of_store
from tests.api.examples import codes, events, fill, lab, make_study, timeline
from tests.datasets.addresses import fact_at
from tests.datasets.tables import of_csv, of_parquet, of_transport, types_of

PARQUET, TRANSPORT = "application/vnd.apache.parquet", "application/x-sas-xport"


def rows(client, home, name, query=""):
    answer = client.get(f"{home}/datasets/{name}.csv{query}")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def timelines(client, home, query=""):
    ids = [item["patient"]["id"] for item in client.get(f"{home}/patients?limit=500").json()["items"]]
    return {each: client.get(f"{home}/patients/{each}{query}").json() for each in ids}


def test_the_listing_describes_each_dataset_and_leads_to_it(anywhere):
    home = fill(anywhere, 2)
    answer = anywhere.get(f"{home}/datasets")
    listed = answer.json()
    assert [each["name"] for each in listed["items"]] == list(NAMES)
    assert (listed["study"], listed["protocol"], listed["software"]) == ("trial", SEED_2008.digest, SOFTWARE)
    assert listed["revision"] == anywhere.get(home).json()["revision"]
    for each in listed["items"]:
        types = types_of(each["variables"])
        table, file = anywhere.get(each["csv"]), anywhere.get(each["parquet"])
        assert (table.status_code, file.status_code) == (200, 200)
        assert of_csv(table.text, types) == of_parquet(file.content)
        assert of_csv(table.text, types) == of_transport(anywhere.get(each["xpt"]).content, each["variables"])
        assert next(csv.reader([table.text.splitlines()[0]])) == list(types)
        assert len(of_parquet(file.content)) > 0 or each["name"] == "adae"
    tag = answer.headers["etag"]
    assert anywhere.get(f"{home}/datasets", headers={"If-None-Match": tag}).status_code == 304
    anywhere.put(f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"))
    assert anywhere.get(f"{home}/datasets").headers["etag"] != tag
    names = [variable["name"] for variable in anywhere.get(f"{home}/datasets").json()["items"][0]["variables"]]
    assert ("RESP03FL" in names, "RESP04FL" in names) == (True, False)


@pytest.mark.parametrize(
    ("path", "accept", "media_type", "suffix"),
    [
        ("adsl", None, "text/csv; charset=utf-8", "csv"),
        ("adsl", "*/*", "text/csv; charset=utf-8", "csv"),
        ("adsl", PARQUET, PARQUET, "parquet"),
        ("adsl.parquet", "text/csv", PARQUET, "parquet"),
        ("adsl.csv", "application/json", "text/csv; charset=utf-8", "csv"),
        ("adsl.xpt", "text/csv", TRANSPORT, "xpt"),
        ("adsl", TRANSPORT, TRANSPORT, "xpt"),
    ],
)
def test_the_format_is_that_of_the_suffix_or_else_of_accept(client, path, accept, media_type, suffix):
    home = fill(client, 2)
    answer = client.get(f"{home}/datasets/{path}", headers={"Accept": accept} if accept else {"Accept": ""})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    revision = client.get(home).json()["revision"]
    name = f'attachment; filename="trial-adsl-revision-{revision}.{suffix}"'
    assert answer.headers["content-disposition"] == name
    assert answer.headers["vary"].split(", ")[0] == "Accept"
    assert answer.headers["cache-control"] == "no-store"


def test_a_media_type_that_is_not_offered_is_refused(client):
    home = fill(client, 1)
    answer = client.get(f"{home}/datasets/adsl", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert answer.headers["vary"].split(", ")[0] == "Accept"


@pytest.mark.parametrize(
    ("suffix", "media_type", "package"), [("parquet", PARQUET, "pyarrow"), ("xpt", TRANSPORT, "pyreadstat")]
)
def test_a_format_without_its_package_is_a_problem_that_names_the_extra(
    client, monkeypatch, suffix, media_type, package
):
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    home = fill(client, 1)
    for path, accept in ((f"adsl.{suffix}", "*/*"), ("adsl", media_type)):
        answer = client.get(f"{home}/datasets/{path}", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["type"]) == (501, "/problems/not-installed")
        assert f"pip install 'myoresponse[{suffix}]'" in answer.json()["detail"]
    assert client.get(f"{home}/datasets/adsl").status_code == 200
    assert client.get(f"{home}/datasets/adxx.{suffix}").status_code == 404


def test_a_number_that_sas_cannot_hold_is_refused_by_name_of_the_other_formats(anywhere):
    home = make_study(anywhere)
    anywhere.put(f"{home}/patients/P00", json=timeline("P00", labs=[lab(-1, 1e-90), lab(7, 500)]))
    answer = anywhere.get(f"{home}/datasets/adeff.xpt")
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert "take CSV or Parquet" in answer.json()["detail"]
    assert anywhere.get(f"{home}/datasets/adae.xpt").status_code == 200


@pytest.mark.parametrize("path", ["adxx", "adsl.xml", "adsl.", "ADSL", "adsl.csv.csv", "adsl.CSV"])
def test_what_is_no_dataset_is_not_found(client, path):
    home = fill(client, 1)
    assert client.get(f"{home}/datasets/{path}").status_code == 404
    assert client.get("/v1/studies/nobody/datasets/adsl").status_code == 404
    assert client.get("/v1/studies/nobody/datasets").status_code == 404


def test_parameters_that_a_dataset_does_not_have_are_refused(client):
    home = fill(client, 1)
    assert client.get(f"{home}/datasets/adsl?by=sex").status_code == 422
    assert codes(client.get(f"{home}/datasets/adsl?as_of=2999-01-01T00:00:00Z")) == [("/query/as_of", "future_time")]


@pytest.fixture
def in_parts(monkeypatch):
    """A file of a thousand bytes is sent in parts, and each part is one person."""
    monkeypatch.setattr("app.http.file_in_parts.SMALLEST", 1_000)
    monkeypatch.setattr("app.store.timelines.PERSONS_WITH_SOURCES", 1)
    monkeypatch.setattr("app.store.timelines.FIRST_PERSONS", 1)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_file_in_parts_has_the_bytes_and_the_tags_of_a_whole_one(anywhere, request, name):
    home = fill(anywhere, 3)
    plain, packed = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}
    whole = [anywhere.get(f"{home}/datasets/{name}.csv", headers=headers) for headers in (plain, packed)]
    request.getfixturevalue("in_parts")
    parts = [anywhere.get(f"{home}/datasets/{name}.csv", headers=headers) for headers in (plain, packed)]
    for one, other in zip(whole, parts, strict=True):
        assert one.content == other.content
        for header in ("etag", "content-type", "content-disposition", "content-encoding", "vary"):
            assert one.headers.get(header) == other.headers.get(header), header
        assert "content-length" in one.headers
        assert ("content-length" in other.headers) == (len(other.content) < 1_000)
    head = anywhere.head(f"{home}/datasets/{name}.csv", headers=packed)
    assert (head.content, head.headers["etag"]) == (b"", parts[1].headers["etag"])


def test_a_file_is_sent_although_every_thread_waits_for_room_in_it():
    sent = []

    async def compute(take):
        await to_thread.run_sync(lambda: [take(bytes(40_000)) for _ in range(10)])

    async def send(message):
        sent.append(message.get("body", b""))

    async def main():
        to_thread.current_default_thread_limiter().total_tokens = 1
        answer = await FileInParts(compute, Settings(max_spool_bytes=1_000), "text/csv").begin()
        await answer({}, asyncio.Event().wait, send)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert b"".join(sent) == bytes(400_000)


@pytest.mark.parametrize("linked", [False, True], ids=["apart", "merged"])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_format_says_the_same_of_merged_records_and_of_equal_instants(
    anywhere, request, monkeypatch, name, linked
):
    home = fill(anywhere, 3)
    instants = [
        lab(0, 700, time="2005-03-16T08:00:00+09:00", id="a"),
        lab(0, 700, time="2005-03-15T18:00:00-05:00", id="b"),
    ]
    anywhere.put(f"{home}/patients/P03", json=timeline("P03", labs=instants))
    other = timeline("P04", labs=[lab(60, 77, id="acc-9")])
    if linked:
        other["patient"]["merged_into"] = "P00"
    anywhere.put(f"{home}/patients/P04", json=other)
    whole = anywhere.get(f"{home}/datasets/{name}.csv").content
    request.getfixturevalue("in_parts")
    monkeypatch.setattr("app.datasets.ROWS_AT_ONCE", 5)
    table = anywhere.get(f"{home}/datasets/{name}.csv")
    assert table.content == whole
    [described] = [each for each in anywhere.get(f"{home}/datasets").json()["items"] if each["name"] == name]
    found = of_csv(table.text, types_of(described["variables"]))
    assert found == of_parquet(anywhere.get(described["parquet"]).content)
    assert found == of_transport(anywhere.get(described["xpt"]).content, described["variables"])
    if name == "adsl":
        assert ("P00/patient P04/patient" in [row["SRCID"] for row in found]) == linked
    if name == "adeff":
        days = {row["SRCID"]: row["ADT"].isoformat() for row in found if row["SRCID"].startswith("P03/labs")}
        assert days == {"P03/labs/CK/id:a/A": "2005-03-16", "P03/labs/CK/id:b/A": "2005-03-15"}


def test_a_file_that_breaks_has_no_end(serve, sqlite_url, monkeypatch, caplog, in_parts):
    client = serve(sqlite_url)
    home = fill(client, 3)
    whole = client.get(f"{home}/datasets/adeff.csv").content
    part = timelines_of_store._part
    seen = []

    def broken(*given):
        seen.append(given)
        if len(seen) == 3:
            raise ServiceError("OperationalError")
        return part(*given)

    monkeypatch.setattr(timelines_of_store, "_part", broken)
    answer = client.get(f"{home}/datasets/adeff.csv")
    assert whole.startswith(answer.content)
    assert len(answer.content) < len(whole)
    assert "event=file broken=internal" in caplog.text


@pytest.mark.slow
def test_datasets_are_given_again_byte_for_byte_after_a_correction(anywhere):
    home = fill(anywhere, 2)
    addresses = [f"{home}/datasets/{name}.{suffix}" for name in NAMES for suffix in ("csv", "parquet", "xpt")]
    before = {address: anywhere.get(address) for address in addresses}
    then = anywhere.get(home).json()
    time.sleep(0.002)
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(7, 5000)))
    anywhere.put(f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"))
    tags = set()
    for address, old in before.items():
        tag = anywhere.get(address).headers["etag"]
        assert tag != old.headers["etag"]
        for query in (f"revision={then['revision']}", f"as_of={then['received_at']}"):
            again = anywhere.get(f"{address}?{query}")
            assert again.content == old.content
            assert again.headers["etag"] == old.headers["etag"]
        kept = anywhere.get(address, headers={"If-None-Match": tag})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
        tags.add(tag)
    assert len(tags) == 3 * len(NAMES)


def test_the_datasets_of_a_past_revision_are_listed_with_their_addresses_as_they_were(client):
    home = fill(client, 2)
    client.put(f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"))
    for query, then in (("", ""), ("?revision=1", "?revision=1")):
        for each in client.get(f"{home}/datasets{query}").json()["items"]:
            assert each["csv"].endswith(f"{each['name']}.csv{then}")
            header = client.get(each["csv"]).text.splitlines()[0]
            assert header == ",".join(variable["name"] for variable in each["variables"])
            assert client.get(each["parquet"]).status_code == client.get(each["xpt"]).status_code == 200


def test_every_row_leads_back_to_facts_that_the_api_shows(anywhere):
    home = fill(anywhere, 3)
    numbered = {"id": "acc-1", "source": "A/B"}
    more = timeline(
        "P03",
        labs=[lab(-1, 900), lab(3, 10, comparator="<"), lab(7, 500, **numbered), lab(7, 510, id="acc-2")],
        adverse_events=[{"term": "=cmd/x", "related": True}, {"id": "e1", "term": "Rash", "onset": "2005-04-12"}],
    )
    anywhere.put(f"{home}/patients/P03", json=more)
    withdrawn = lab(7, 510, id="acc-2", status="entered-in-error")
    anywhere.post(f"{home}/patients/P03/events", json=events("P03", withdrawn))
    merged = timeline("P04", labs=[lab(60, 77, id="acc-9")])
    merged["patient"]["merged_into"] = "P03"
    anywhere.put(f"{home}/patients/P04", json=merged)
    documents = timelines(anywhere, home)
    subjects = rows(anywhere, home, "adsl")
    assert [row["SRCID"] for row in subjects] == [
        "P00/patient", "P01/patient", "P02/patient", "P03/patient P04/patient",
    ]  # fmt: skip
    for row in subjects:
        assert next(fact_at(documents, each)["id"] for each in row["SRCID"].split()) == row["SUBJID"]
        assert fact_at(documents, row["TRTSSRC"])["time"] == row["TRTSDT"]
    used = set()
    for row in rows(anywhere, home, "adeff"):
        fact = fact_at(documents, row["SRCID"])
        used.add(row["SRCID"])
        assert fact["time"][:10] == row["ADT"]
        if row["PARAMCD"] in {"CK", "MMT", "ADL"}:
            value = fact.get("value", fact.get("score"))
            assert float(row["AVAL"]) == (value / 2 if row["AVALC"].startswith("<") else value)
    facts = sum(len(document[section]) for document in documents.values() for section in ("labs", "assessments"))
    assert len(used) == facts - len(documents["P04"]["assessments"]), "the scores of P04 are those of P03 again"
    assert "P03/labs/CK/id:acc-1/A/B" in used
    assert "P04/labs/CK/id:acc-9/A" in used
    assert not any("acc-2" in each for each in used)
    for row in rows(anywhere, home, "adtte"):
        for source, day in ((row["SRCID"], row["ADT"]), (row["STARTSRC"], row["STARTDT"])):
            assert fact_at(documents, source)["time"][:10] == day
    terms = {fact_at(documents, row["SRCID"])["term"] for row in rows(anywhere, home, "adae")}
    assert terms == {"=cmd/x", "Rash"}
    assert "'=cmd/x" in [row["AETERM"] for row in rows(anywhere, home, "adae")]


def test_a_row_leads_back_to_the_version_that_stood_at_its_revision(anywhere):
    home = fill(anywhere, 1)
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(7, 500, id="k", version=1)))
    then = anywhere.get(home).json()["revision"]
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(7, 300, id="k", version=2)))
    for query, value in ((f"?revision={then}", "500"), ("", "300")):
        [row] = [
            row for row in rows(anywhere, home, "adeff", query)
            if row["SRCID"] == "P00/labs/CK/id:k/A" and row["PARAMCD"] == "CK"
        ]  # fmt: skip
        assert row["AVAL"] == value
        assert fact_at(timelines(anywhere, home, query), row["SRCID"])["value"] == float(value)
    history = anywhere.get(f"{home}/patients/P00/history?id=k").json()["items"]
    assert [each["fact"]["value"] for each in history] == [500, 300]


def test_an_empty_study_has_empty_datasets(anywhere):
    home = make_study(anywhere)
    for name in NAMES[:-1]:
        assert rows(anywhere, home, name) == []
        file = parquet.read_table(io.BytesIO(anywhere.get(f"{home}/datasets/{name}.parquet").content))
        assert file.num_rows == 0
    assert [row["stat"] for row in rows(anywhere, home, "ard") if row["stat_name"] == "all"] == ["0"]


def test_a_person_who_was_erased_is_in_no_dataset_and_revisions_that_held_them_are_gone(client):
    home = fill(client, 2)
    then = client.get(home).json()["revision"]
    assert b"P01/" in client.get(f"{home}/datasets/adsl").content
    assert client.delete(f"{home}/patients/P01?erase=true").status_code == 204
    for name in NAMES:
        assert client.get(f"{home}/datasets/{name}?revision={then}").status_code == 410
        assert b"P01/" not in client.get(f"{home}/datasets/{name}").content
    assert client.get(f"{home}/datasets?revision={then}").status_code == 410


def test_no_number_of_a_hospital_is_in_a_dataset(serve, sqlite_url):
    """What was sent as a medical record number and an accession number is a pseudonym in every file."""
    client = serve(sqlite_url, pseudonym_secret="s" * 32)
    home = make_study(client, identifiers="medical_record")
    table = "patient,time,code,value,unit,upper_limit,lab,id\nMRNQ99,2005-03-16,CK,900,U/L,163,A,ACCQ98\n"
    sent = client.post(f"{home}/labs", content=table, headers={"Content-Type": "text/csv"})
    assert sent.json()["counts"] == {"created": 1}, sent.text
    for name in NAMES:
        for suffix in ("csv", "parquet"):
            content = client.get(f"{home}/datasets/{name}.{suffix}").content
            assert b"MRNQ99" not in content
            assert b"ACCQ98" not in content
    assert rows(client, home, "adsl")[0]["SUBJID"].startswith("s-")


def test_days_are_counted_in_the_zone_of_the_study(client):
    home = make_study(client, time_zone="Asia/Tokyo")
    late = {"code": "CK", "time": "2005-04-17T20:00:00Z", "value": 5, "unit": "U/L", "lab": "A"}
    client.put(f"{home}/patients/P1", json=timeline("P1", labs=[late]))
    row = rows(client, home, "adeff")[0]
    assert (row["ADT"], row["ADY0"], row["SRCID"]) == ("2005-04-18", "7", "P1/labs/CK/at:2005-04-17T20:00:00Z/A")
