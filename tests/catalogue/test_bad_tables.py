"""The catalogue of bad input, rows 107 to 112: tables of results as CSV.

The numbers are those of the research note this list comes from. Where the design answers differently from the note the
row says so. What is refused is refused with line and column, repeats nothing of what was sent, and changes no byte of
the database, whether the whole table stands or falls together or each patient by himself.
"""

import csv
import io
from functools import partial

import pytest

from app.readers.csv_lines import lines
from tests.catalogue.feeds import ROW, RefusedTable, Tried, Ward, parameters, reveals_nothing, row, served, table
from tests.catalogue.service import CANARY, NUMBER

EUROPEAN = {"delimiter": ";", "decimal": ","}
WORDS = {"missing": "NA,-,.,999"}
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0")


def cell(code: str, column: str, written: str, *, sends: dict[str, str] | None = None) -> RefusedTable:
    """A table with one cell at fault."""
    body = table({column: written}, delimiter=(sends or {}).get("delimiter", ","))
    return RefusedTable(body, ((f"/2/{column}", code),), parameters=sends or {})


def unreadable(body: bytes, media_type: str = "text/csv", *faults: tuple[str, str]) -> RefusedTable:
    """Bytes that are not UTF-8, or say so."""
    return RefusedTable(body, faults, 415, whole=True, media_type=media_type)


def header(code: str, place: str, body: str | bytes, status: int = 422, **sends: str) -> RefusedTable:
    """A table that is refused as a whole."""
    return RefusedTable(body, ((place, code),), status, whole=True, parameters=sends)


def european(value: str) -> str:
    """A table with semicolons."""
    return table({"value": value}, delimiter=";")


def a_byte_order_mark_changes_nothing(ward: Ward) -> None:
    ward.takes(table())
    before = ward.revision()
    ward.takes("\ufeff" + table(), table().replace("\n", "\r\n"), table().replace("\n", "\r"))
    assert (ward.values(), ward.revision()) == ([NUMBER], before)


def a_declared_dialect_is_read(ward: Ward) -> None:
    ward.takes(european("7391,25"), **EUROPEAN)
    before = ward.revision()
    ward.takes(table())
    ward.takes(table(delimiter="\t"), delimiter="tab")
    assert (ward.values(), ward.revision()) == ([NUMBER], before)


def a_guess_is_named_and_not_followed(ward: Ward) -> None:
    for body, sends, guess in (
        (european("7391,25"), {}, "with a semicolon between its cells; declare the delimiter"),
        (table(delimiter="\t"), {}, "with a tab between its cells; declare the delimiter"),
        (european("7391,25"), {"delimiter": ";"}, "a decimal mark `,`; declare decimal=,"),
        (european("7391.25"), EUROPEAN, "a decimal mark `.`; declare decimal=."),
    ):
        answer = ward.table(body, **sends, atomic="true")
        assert answer.status_code == 422
        assert guess in answer.json()["errors"][0]["detail"]
        reveals_nothing(answer)
    assert ward.labs() == []


def quoted_cells_hold_line_breaks(ward: Ward) -> None:
    ward.takes(table({"code_text": '"Creatine\nkinase, ""total"""', "id": "7"}, {"id": "8"}))
    assert len(ward.labs()) == 2
    answer = ward.table(table({"code_text": '"one\ntwo"', "id": "9"}, {"value": CANARY}), atomic="true")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/4/value"]


def formulas_are_kept_as_text_and_written_as_text(ward: Ward) -> None:
    """No table of stored facts is written yet: what stands is put through what writes the tables there are."""
    ward.takes(table(*({"lab": f'"{text}"', "id": f"a{i}"} for i, text in enumerate(FORMULAS))))
    labs = ward.labs()
    assert sorted(lab["lab"] for lab in labs) == sorted(FORMULAS)
    written = list(
        csv.DictReader(io.StringIO("".join(lines(("lab", "value"), [(x["lab"], -x["value"]) for x in labs]))))
    )
    assert sorted(each["lab"] for each in written) == sorted(f"'{text}" for text in FORMULAS)
    assert {each["value"] for each in written} == {f"-{NUMBER}"}


def a_tab_around_a_formula_does_not_count(ward: Ward) -> None:
    """What a tab or a carriage return begins is a formula, too; around a cell, they are spaces and not kept."""
    ward.takes(table({"lab": '"\t=1+1\r"'}))
    assert [lab["lab"] for lab in ward.labs()] == ["=1+1"]


def what_the_service_writes_has_no_formula(ward: Ward) -> None:
    template = ward.client.get("/v1/templates/labs.csv").text
    assert not [
        cell for line in csv.reader(io.StringIO(template)) for cell in line if cell.startswith(tuple("=+-@\t\r"))
    ]
    ward.takes(template)


def a_row_without_a_value_is_left_alone_and_counted(ward: Ward) -> None:
    before = ward.revision()
    for written, sends in (("", {}), ("  ", {}), *((word, WORDS) for word in ("NA", " - ", ".", "999"))):
        answer = ward.table(table({"value": written}), **sends)
        assert (answer.status_code, answer.json()["skipped"], answer.json()["facts"]["not_ours"]) == (
            422, {"value": 1}, 1,
        ), written  # fmt: skip
    assert (ward.subjects(), ward.revision()) == ([], before)


def a_word_takes_the_place_of_a_number(ward: Ward) -> None:
    ward.takes(table())
    answer = ward.table(table({"value": "canary"}))
    assert (answer.status_code, answer.json()["facts"]["set_aside"]) == (200, 1)
    reveals_nothing(answer)
    assert ward.values() == []
    answer = ward.table(table({"value": "canary"}), atomic="true")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [("/2/value", "bad_number")]


def a_limit_that_is_no_number_is_noted(written: str, ward: Ward) -> None:
    answer = ward.table(table({"upper_limit": written}))
    assert answer.status_code == 200
    assert "limit_unreadable" in answer.text
    reveals_nothing(answer)
    assert [lab.get("upper_limit") for lab in ward.labs()] == [None]
    answer = ward.table(table({"upper_limit": written, "id": "9"}), atomic="true")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("/2/upper_limit", "bad_number")
    ]


def what_is_not_declared_is_a_value(ward: Ward) -> None:
    ward.takes(table({"value": "999"}))
    assert ward.values() == [999]
    ward.takes(table({"upper_limit": "999", "id": "8"}), **WORDS)
    assert [lab.get("upper_limit") for lab in ward.labs() if lab["value"] == NUMBER] == [None]


SHORT = table().replace(f",{CANARY}\n", "\n")
LONG = table().replace(f",{CANARY}\n", f",{CANARY},{CANARY}\n")
ROWS = [
    row(
        107,
        "byte order marks and other character sets: UTF-16 without its mark is 400 for its NULs",
        Tried(a_byte_order_mark_changes_nothing),
        *(
            unreadable(b"".join(mark) + table().encode(codec), "text/csv", ("", "unknown_encoding"))
            for codec, *mark in (("utf-16",), ("utf-16-be", b"\xfe\xff"))
        ),
        header("malformed", "/1", table().encode("utf-16-le"), 400),
        unreadable(table({"lab": "Hôpital"}).encode("latin-1"), "text/csv", ("", "unknown_encoding")),
        unreadable(table({"lab": "検査部"}).encode("shift-jis"), "text/csv", ("", "unknown_encoding")),
        *(
            unreadable(table().encode(), media_type)
            for media_type in ("text/csv; charset=iso-8859-1", "text/csv; charset=utf-16", "application/vnd.ms-excel")
        ),
        header("malformed", "/2", table({"lab": f"{CANARY}\0"}), 400),
    ),
    row(
        108,
        "semicolons and decimal commas",
        Tried(a_declared_dialect_is_read),
        Tried(a_guess_is_named_and_not_followed),
        header("unknown_column", "/1", european("7391,25")),
        *(cell("bad_number", "value", f'"{n}"') for n in ("7391,25", "7.391,25", "7,391.25", "7,391", "1.234,5")),
        *(cell("bad_number", "value", n, sends=EUROPEAN) for n in ("7.391,25", "7391.25", "7.391", "1.234,5")),
        *(cell("bad_number", "value", n) for n in ("7.39E+03", "0x7391", "7391.25 U/L", "7 391", "7'391", "\u0667")),
        *(Tried(partial(a_limit_that_is_no_number_is_noted, n)) for n in ('"163,5"', "1e2", f"<{NUMBER}")),
        cell("bad_number", "version", "1.0"),
        RefusedTable(table(), (("/query/delimiter", "unknown_value"),), whole=True, parameters={"delimiter": "canary"}),
        RefusedTable(table(), (("/query/decimal", "unknown_value"),), whole=True, parameters={"decimal": "canary"}),
    ),
    row(
        109,
        "rows and headers that do not fit, quotes that do not end",
        RefusedTable(SHORT, (("/2", "ragged_row"),)),
        RefusedTable(LONG, (("/2", "ragged_row"),)),
        header("repeated_column", f"/1/{len(ROW) + 1}", table().replace("\n", ",value\n", 1)),
        header("unknown_column", f"/1/{len(ROW) + 1}", table({CANARY: "1"})),
        header("unknown_column", f"/1/{len(ROW) + 1}", table({"name": CANARY})),
        header("missing", "/1/unit", table(columns=[name for name in ROW if name != "unit"])),
        header("malformed", "", "", 400),
        header("malformed", "", "\n \n", 400),
        header("malformed", "/2", table({"lab": f'"{CANARY}'}), 400),
        header("malformed", "/2", table({"lab": f'"{CANARY}"{CANARY}'}), 400),
        Tried(quoted_cells_hold_line_breaks),
    ),
    row(
        110,
        "cells that a spreadsheet would compute",
        Tried(formulas_are_kept_as_text_and_written_as_text),
        Tried(a_tab_around_a_formula_does_not_count),
        Tried(what_the_service_writes_has_no_formula),
        *(cell("bad_number", "value", formula) for formula in ("=7391", "@7391", "+7391")),
        cell("out_of_range", "value", "-7391"),
    ),
    row(
        111,
        "words for nothing: an empty cell needs no declaration; a result without a value is left alone and counted",
        Tried(a_row_without_a_value_is_left_alone_and_counted),
        Tried(what_is_not_declared_is_a_value),
        Tried(a_word_takes_the_place_of_a_number),
        *(cell("bad_number", "value", word) for word in ("NA", "-", ".", "n/a", "NULL", "#N/A", "nan")),
        *(cell("bad_number", "value", word, sends=WORDS) for word in ("na", "--", "999.0x")),
        *(cell("bad_identifier", name, word) for name in ("patient", "id") for word in ("NA", "-", "#N/A", "7.39E+11")),
        cell("no_subject", "patient", ""),
        cell("missing", "time", ""),
        cell("unknown_unit", "unit", ""),
        cell("missing", "code", ""),
        cell("unknown_unit", "unit", "NA"),
        cell("bad_time", "time", "NA"),
    ),
    row(
        112,
        "dates of spreadsheets",
        *(
            cell("bad_time", "time", written)
            for written in (
                "45000", "45000.5", "3/2/2023", "03/02/2023", "16.03.2005", "16-03-2005", "2005/03/16", "16-Mar-05",
                "2005-3-16", "05-03-16", "2005-03-16 9:48", "2005-03-16 09:48 AM", "20050316",
            )
        ),
        *(cell("bad_time", "issued", written) for written in ("45000", "3/2/2023")),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def service(migrated_file):
    with served(migrated_file) as running:
        yield running


@pytest.mark.parametrize("each", parameters(ROWS))
def test_bad_table(each, service, caplog):
    caplog.set_level("DEBUG", "myoresponse")
    each.check(service)
    assert "canary" not in caplog.text.lower()
