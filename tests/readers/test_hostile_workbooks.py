"""Archives that are no workbooks, workbooks that want to do harm, and damaged ones: each refused, in little memory."""

import contextlib
import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest

from app.errors import InvalidDocument, MalformedDocument, ServiceError, TooLarge
from app.readers import workbook_package, workbooks
from app.readers.table_rows import Dialect
from app.readers.workbooks import Workbook
from tests.readers.workbook_files import (
    MAIN,
    RELATIONS,
    SHEET,
    STYLES,
    TEXTS,
    TYPES,
    WORKBOOK,
    cell,
    number,
    parts,
    row,
    sheet,
    styles,
    text,
    texts,
    workbook,
    zipped,
)

GOOD = parts({"labs": sheet(row("a"), row("b"))})


def read(body):
    opened = Workbook(io.BytesIO(body), Dialect())
    for each in opened.sheets:
        for _ in opened.rows(each):
            pass


def refusal(body):
    """The refusal of a workbook whose sheets are all read, and the greatest memory that reading it took."""
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError) as refused:
            read(body)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    return refused.value


def codes(body):
    return [str(fault.code) for fault in refusal(body).faults]


def changed(**files):
    return zipped(GOOD | files)


def test_a_good_workbook_is_read():
    opened = Workbook(io.BytesIO(zipped(GOOD)), Dialect())
    assert list(opened.rows(opened.sheets[0])) == [(1, ["a"]), (2, ["b"])]
    stored = Workbook(io.BytesIO(zipped(GOOD, zipfile.ZIP_STORED)), Dialect())
    assert [each.name for each in stored.sheets] == ["labs"]


def test_other_formats_are_named():
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000)
    assert "old kind" in refusal(old).detail
    assert codes(old) == ["unsupported"]
    locked = old + "EncryptedPackage".encode("utf-16-le") + bytes(2_000)
    assert codes(locked) == ["encrypted"]
    assert codes(zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"})) == ["unsupported"]
    binary = GOOD[TYPES].replace("openxmlformats-officedocument.spreadsheetml", "ms-excel")
    assert codes(changed(**{TYPES: binary})) == ["unsupported"]
    strict = GOOD[WORKBOOK].replace(MAIN, "http://purl.oclc.org/ooxml/spreadsheetml/main")
    assert "Excel Workbook" in refusal(changed(**{WORKBOOK: strict})).detail


@pytest.mark.parametrize(
    "more",
    [
        {TYPES: GOOD[TYPES].replace("sheet.main+xml", "sheet.macroEnabled.main+xml")},
        {"xl/vbaProject.bin": b"\0"},
        {"xl/macrosheets/sheet1.xml": "<a/>"},
        {"xl/activeX/activeX1.xml": "<a/>"},
        {TYPES: GOOD[TYPES].replace("</Types>", '<Default Extension="x" ContentType="a/b.vbaProject"/></Types>')},
    ],
    ids=["type", "project", "sheet", "control", "renamed"],
)  # fmt: skip
def test_macros_are_refused(more):
    assert codes(changed(**more)) == ["macros"]


@pytest.mark.parametrize("part", ["xl/externalLinks/externalLink1.xml", "xl/queryTables/queryTable1.xml"])
def test_links_to_other_files_and_data_are_refused(part):
    assert codes(changed(**{part: "<a/>"})) == ["external_link"]
    kind = '<Override PartName="/x" ContentType="a/vnd.x.connections+xml"/></Types>'
    assert codes(changed(**{TYPES: GOOD[TYPES].replace("</Types>", kind)})) == ["external_link"]


def test_a_relation_that_leaves_the_workbook_is_not_followed():
    outside = GOOD[RELATIONS].replace(
        'Target="worksheets/sheet1.xml"', 'Target="file:///etc/passwd" TargetMode="External"'
    )
    assert codes(changed(**{RELATIONS: outside})) == ["unsupported"]
    above = GOOD[RELATIONS].replace("worksheets/sheet1.xml", "../../../../etc/passwd")
    assert codes(changed(**{RELATIONS: above})) == ["malformed"]


def test_an_archive_with_a_password_is_refused():
    body = bytearray(zipped(GOOD))
    at = body.index(b"PK\x01\x02")
    body[at + 8] |= 1
    assert codes(bytes(body)) == ["encrypted"]


def test_a_sheet_that_is_huge_when_unpacked_is_refused_before_it_is_unpacked():
    bomb = changed(**{SHEET: sheet(row("a"), *[row("b")] * 400_000)})
    assert len(bomb) < 100_000
    assert isinstance(refusal(bomb), TooLarge)


def test_a_part_that_nobody_reads_counts_too_and_is_not_unpacked():
    assert isinstance(refusal(changed(**{"xl/media/a.png": bytes(20_000_000)})), TooLarge)
    inner = zipped({"a": bytes(900_000)})
    opened = Workbook(io.BytesIO(changed(**{"xl/embeddings/a.zip": inner})), Dialect())
    assert list(opened.rows(opened.sheets[0]))


def test_all_parts_together_have_a_limit(monkeypatch):
    monkeypatch.setattr(workbook_package, "MOST_UNPACKED", 3_000_000)
    many = {f"xl/media/{n}.bin": bytes(n % 251 for n in range(900_000)) for n in range(4)}
    assert isinstance(refusal(changed(**many)), TooLarge)


def test_a_size_that_is_not_true_is_noticed():
    """The declared size is small; the archive is read no further, and the checksum tells of it."""
    large = sheet(row("a"), *[row("b")] * 200_000)
    body = bytearray(changed(**{SHEET: large}))
    size = struct.pack("<L", len(large))
    assert body.count(size) == 2
    assert isinstance(refusal(bytes(body.replace(size, struct.pack("<L", 5_000)))), MalformedDocument)
    checked = zlib.crc32(large.encode()[:5_000])
    lying = body.replace(size, struct.pack("<L", 5_000)).replace(
        struct.pack("<L", zlib.crc32(large.encode())), struct.pack("<L", checked)
    )
    assert isinstance(refusal(bytes(lying)), MalformedDocument)


def test_very_many_parts_are_refused_before_they_are_listed():
    assert isinstance(refusal(zipped(GOOD | {f"x{n}": "" for n in range(1_000)})), TooLarge)
    assert isinstance(refusal(zipped(GOOD | {f"{n:0200}": "" for n in range(900)})), TooLarge)


def test_an_archive_of_the_large_kind_is_refused():
    body = zipped(GOOD)
    locator = b"PK\x06\x07" + bytes(16)
    assert isinstance(refusal(body[:-22] + locator + body[-22:]), TooLarge)


def test_two_parts_of_one_name_are_refused(recwarn):
    assert codes(zipped([*GOOD.items(), (SHEET.upper(), GOOD[SHEET])])) == ["malformed"]
    assert codes(zipped([*GOOD.items(), (SHEET, GOOD[SHEET])])) == ["malformed"]


@pytest.mark.parametrize("part", [TYPES, WORKBOOK, RELATIONS, STYLES, TEXTS, SHEET])
def test_a_document_type_is_refused_so_that_there_are_no_entities(part):
    laughs = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    outside = '<!DOCTYPE a SYSTEM "file:///etc/passwd">'
    for declared in (laughs, outside):
        assert codes(changed(**{part: declared + GOOD[part].replace("</", "&amp;</", 0)})) == ["malformed"]
    assert codes(changed(**{part: GOOD[part].replace(">", ">&b;", 1)})) == ["malformed"]


@pytest.mark.parametrize("part", [TYPES, "_rels/.rels", WORKBOOK, SHEET])
def test_a_part_that_is_missing_or_no_xml_is_refused(part):
    assert refusal(zipped({name: content for name, content in GOOD.items() if name != part}))
    for content in ("", "x", "<a>", GOOD[part] + "<b/>", GOOD[part].encode("utf-16")[:-4], b"\xff" * 50):
        assert refusal(changed(**{part: content}))


def test_a_tag_a_text_and_a_depth_have_limits():
    long = changed(**{SHEET: f'<worksheet xmlns="{MAIN}" a="' + "x1y2" * 2_000_000 + '"/>'})
    assert isinstance(refusal(incompressible(long, SHEET)), TooLarge)
    deep = "<a>" * 100_000
    assert isinstance(refusal(incompressible(changed(**{SHEET: f'<worksheet xmlns="{MAIN}">{deep}'}), SHEET)), TooLarge)
    blank = changed(**{SHEET: sheet(row("a"), " \n" * 9_000_000)})
    assert isinstance(refusal(incompressible(blank, SHEET)), TooLarge)
    assert codes(workbook(row("a"), row(number("9" * 40_000)))) == ["unclear_cell"]
    assert codes(workbook(row("a"), row(text("x" * 32_768)))) == ["too_long"]
    assert isinstance(refusal(workbook(row("a"), row(text("x" * 80_000)))), TooLarge)


def incompressible(body, part):
    """The same archive with one part not compressed, so that no ratio of sizes refuses it."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as read, zipfile.ZipFile(written, "w") as archive:
        for name in read.namelist():
            archive.writestr(name, read.read(name), zipfile.ZIP_STORED if name == part else zipfile.ZIP_DEFLATED)
    return written.getvalue()


def test_the_texts_that_cells_share_have_a_limit(monkeypatch):
    monkeypatch.setattr(workbooks, "MOST_SHARED", 50_000)
    assert isinstance(refusal(changed(**{TEXTS: texts(*["<si><t>abc</t></si>"] * 1_000)})), TooLarge)


def test_cells_that_share_a_long_text_are_counted_each(monkeypatch):
    monkeypatch.setattr(workbooks, "MOST_CHARACTERS", 1_000_000)
    long = texts(f"<si><t>{'x' * 30_000}</t></si>")
    shared = cell("<v>0</v>", t="s")
    assert isinstance(refusal(workbook(row("a"), *[row(shared)] * 40, **{TEXTS: long})), TooLarge)
    read(workbook(row("a"), *[row(shared)] * 30, **{TEXTS: long}))


@pytest.mark.parametrize("last", ["GJI1", "XFD1", "NTP1", "ZZZ1"])
def test_a_million_columns_are_not_read(last):
    found = refusal(workbook(row(text("a", "A1"), text("b", last), r="1")))
    assert isinstance(found, TooLarge)
    without_names = refusal(incompressible(workbook(row(*["<c/>"] * 1_000_000)), SHEET))
    assert isinstance(without_names, TooLarge)


@pytest.mark.parametrize(
    "rows",
    [
        (row("a", r="2"), row("b", r="1")), (row("a", r="2"), row("b", r="2")), (row("a", r="0"),), (row("a", r="x"),),
        (row("a", r="1048577"),), (row("a", r="99999999999999999999"),), (row(text("a", "A2"), r="1"),),
        (row(text("a", "B1"), text("b", "A1"), r="1"),), (row(text("a", "A1"), text("b", "A1"), r="1"),),
        (row(text("a", "AAAA1"), r="1"),), (row(text("a", "1"), r="1"),), (row(text("a", ""), text("b", "A"), r="1"),),
        (row(cell("<v>0</v>", t="s")),), (row(cell("<v>-1</v>", t="s")),), (row(cell("<v>1</v>", s="9")),),
        (row(cell("<v>1</v>", s="x")),), (row(f"<c>{cell('')}</c>"),), (f"<a>{row('a')}</a>",),
    ],
)  # fmt: skip
def test_a_sheet_whose_cells_are_not_where_they_say_is_damaged(rows):
    assert codes(workbook(*rows)) == ["malformed"]


@pytest.mark.parametrize("index", ["-1", "0_0", "+0", "1"])
def test_a_cell_never_has_the_text_or_the_style_of_another_number(index):
    shared = row(cell(f"<v>{index}</v>", t="s"))
    assert codes(workbook(row("a"), shared, **{TEXTS: texts("<si><t>P01</t></si>")})) == ["malformed"]
    assert codes(workbook(row("a"), row(number(1, s=index)), **{STYLES: styles()})) == ["malformed"]


def test_very_many_names_in_one_part_are_refused_in_little_memory():
    many = range(20_000)
    hidden = "".join(f'<col min="{i + 9}" max="{i + 9}" hidden="1"/>' for i in many)
    assert isinstance(refusal(changed(**{SHEET: sheet(row("a"), before=f"<cols>{hidden}</cols>")})), TooLarge)
    named = "".join(f'<Override PartName="/x{i}" ContentType="y"/>' for i in many)
    assert isinstance(refusal(changed(**{TYPES: GOOD[TYPES].replace("</Types>", f"{named}</Types>")})), TooLarge)
    related = "".join(f'<Relationship Id="x{i}" Type="y" Target="z"/>' for i in many)
    longer = GOOD[RELATIONS].replace("</Relationships>", f"{related}</Relationships>")
    assert isinstance(refusal(changed(**{RELATIONS: longer})), TooLarge)


@pytest.mark.parametrize("code", ["[" * 300_000, "0," * 150_000, "0[h" * 100_000])
def test_a_long_number_format_takes_no_time_and_makes_its_cells_unclear(code):
    begun = time.process_time()
    assert codes(workbook(row("a"), row(number(1, s=1)), **{STYLES: styles(code)})) == ["unclear_cell"]
    assert time.process_time() - begun < 2


def test_a_chart_is_no_table():
    chart = GOOD[RELATIONS].replace("/worksheet", "/chartsheet")
    assert codes(changed(**{RELATIONS: chart})) == ["unsupported"]


def test_very_many_sheets_are_refused():
    made = parts({f"s{n}": sheet(row("a")) for n in range(101)})
    assert isinstance(refusal(zipped(made)), TooLarge)


def test_what_is_refused_says_what_would_be_accepted():
    for body in (b"PK\x05\x06" + bytes(18), b"\xd0\xcf\x11\xe0" + bytes(600), zipped({"a": "b"})):
        found = refusal(body)
        assert isinstance(found, InvalidDocument | MalformedDocument)
        assert all(".xlsx" in fault.accepts.form for fault in found.faults)


def test_damage_anywhere_is_a_refusal_or_another_text_and_never_an_error():
    body = zipped(GOOD)
    for at in range(0, len(body), 7):
        damaged = body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]
        for each in (damaged, body[:at]):
            with contextlib.suppress(ServiceError):
                read(each)
