"""Reads the sheets of a workbook (.xlsx) row by row, as texts, for the readers of tables.

What a cell stores is read, in digits that give the same number again. A cell is refused if it has a formula, because
what is stored beside a formula may be old; if it has an error; or if it shows another value than it stores. So is
everything that a person may not see or mean: merged cells, and hidden sheets, rows and columns. A workbook with such a
fault is refused as a whole. Pictures, charts, comments and colours are left alone.

The file holds, in this order: `Workbook` with its sheets, the texts that cells share, and the parser of a sheet.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import BinaryIO, NamedTuple

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, TooLarge
from app.readers.table_rows import MOST_COLUMNS, Dialect
from app.readers.workbook_package import DEEPEST, MAIN, RELATIONS, Package, Parser, malformed, too_deep
from app.readers.workbook_styles import PLAIN, NumberFormat, number_formats, number_text
from app.timeline.normalize import MOST_FAULTS

LONGEST_CELL = 32_767
"""Greatest number of characters in a cell, as in the programs that write workbooks."""
MOST_SHARED = 64_000_000
"""Greatest number of bytes of memory for the different texts of a workbook."""
MOST_CHARACTERS = 32_000_000
"""Greatest number of characters in all cells. Many cells may share one long text: a small file may have very many."""
MOST_SHEETS = 100
LAST_ROW = 1_048_576
_C, _V, _F, _IS, _T, _ROW, _COL = (MAIN + name for name in ("c", "v", "f", "is", "t", "row", "col"))
_PHONETIC, _MERGED, _FORMAT, _SI = (MAIN + name for name in ("rPh", "mergeCell", "sheetFormatPr", "si"))
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TRUE = frozenset({"1", "true"})
_VALUE = Accepts(form="a value: copy the cells and paste them as values, or an empty cell")
_SHOWN = Accepts(form="a text, or a number or date that is shown as it is stored; format the column as text or General")
_HEADER = Accepts(form="a header, and below it the rows; delete a sheet that is not used")
_VISIBLE = Accepts(form="visible sheets, rows and columns: show them, or delete what does not belong to the data")


class Worksheet(NamedTuple):
    """A sheet: its number in the workbook from 1, its name, the part that has its cells, and whether it is hidden.

    `part` is `None` for a chart or a dialog.
    """

    number: int
    name: str
    part: str | None
    hidden: bool


class Workbook:
    """A workbook that is open. Raises what `Package` raises, and reads nothing of a sheet yet."""

    def __init__(self, opened: BinaryIO, dialect: Dialect) -> None:
        self._package = Package(opened)
        self._dialect = dialect
        self._from_1904 = False
        self._characters = 0
        self.sheets = tuple(self._sheets())
        parts = dict(self._package.targets(self._package.workbook).values())
        self._formats = number_formats(self._package, parts.get("styles"))
        shared = parts.get("sharedStrings")
        self._texts: Sequence[str | None] = () if shared is None else self._shared_texts(shared)

    def rows(self, sheet: Worksheet, place: str = "") -> Iterator[tuple[int, Sequence[str]]]:
        """The rows with content, the header first, each with its number in the sheet. The rows below the header have
        at least as many cells as the header.

        Raises, at the latest after the last row, `InvalidDocument` with the first faults of the cells: a fault is at
        `place`, the number of the row, and the letters of the column.
        """
        if sheet.part is None:
            raise InvalidDocument(faults=[Fault(place, FaultCode.UNSUPPORTED, "This is no sheet with cells.")])
        parser = _SheetParser(self._texts, self._formats, self._dialect, self._from_1904, place)
        width = 0
        for _ in self._package.read(sheet.part, parser):
            for number, cells in parser.rows:
                self._characters += sum(map(len, cells))
                if self._characters > MOST_CHARACTERS:
                    raise TooLarge(f"The cells of a workbook may have {MOST_CHARACTERS} characters.")
                width = width or len(cells)
                yield number, cells + [""] * (width - len(cells))
            parser.rows.clear()
            if len(parser.faults) >= MOST_FAULTS:
                break
        if parser.faults:
            raise InvalidDocument(faults=parser.faults[:MOST_FAULTS])
        if not parser.is_sheet:
            raise malformed("The part of a sheet has no sheet.", place)
        if not width:
            raise InvalidDocument(faults=[Fault(place, FaultCode.EMPTY_SHEET, None, _HEADER)])

    def _shared_texts(self, part: str) -> Sequence[str | None]:
        parser = _TextParser()
        for _ in self._package.read(part, parser):
            pass
        return parser.texts

    def _sheets(self) -> Iterator[Worksheet]:
        targets = self._package.targets(self._package.workbook)
        number = 0
        for depth, element, attributes in self._package.elements(self._package.workbook):
            if depth == 1 and element != f"{MAIN}workbook":
                raise malformed("The workbook is not written in the usual form; save it as “Excel Workbook (.xlsx)”.")
            if element == f"{MAIN}workbookPr":
                self._from_1904 = attributes.get("date1904") in _TRUE
            elif element == f"{MAIN}sheet":
                number += 1
                if number > MOST_SHEETS:
                    raise TooLarge(f"A workbook may have {MOST_SHEETS} sheets.")
                kind, part = targets.get(attributes.get(f"{RELATIONS} id", ""), ("", ""))
                hidden = attributes.get("state", "visible") != "visible"
                yield Worksheet(number, attributes.get("name", ""), part if kind == "worksheet" else None, hidden)


def hidden_sheet(place: str) -> Fault:
    """The fault of a sheet that is hidden."""
    return Fault(place, FaultCode.HIDDEN, None, _VISIBLE)


class _TextParser(Parser):
    """Reads the part with the texts that cells share; a text that no cell may have is `None`.

    How a text is spoken (`rPh`) does not belong to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str | None] = []
        self._parts: list[str] = []
        self._spoken = False
        self._size = 0

    def on_start(self, element: str, attributes: dict[str, str]) -> None:
        """Begin a text, or a part of one."""
        if element == _T:
            self.text.clear()
        elif element == _SI:
            self._parts = []
        elif element == _PHONETIC:
            self._spoken = True

    def on_end(self, element: str) -> None:
        """End a text, or a part of one."""
        if element == _T and not self._spoken:
            self._parts += self.text
            _check_parts(self._parts)
        elif element == _SI:
            text = plain_text("".join(self._parts))
            self.texts.append(text)
            self._size += 80 + 4 * len(text or "")
            if self._size > MOST_SHARED:
                raise TooLarge("The cells of the workbook have too many different texts.")
        elif element == _PHONETIC:
            self._spoken = False
        self.text.clear()


class _SheetParser(Parser):
    """Reads the cells of a sheet. `rows` has the complete rows with content, `faults` what is wrong with cells."""

    def __init__(
        self,
        texts: Sequence[str | None],
        formats: Sequence[NumberFormat],
        dialect: Dialect,
        from_1904: bool,
        place: str,
    ) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str]]] = []
        self.faults: list[Fault] = []
        self.is_sheet = False
        self._texts, self._formats, self._dialect, self._from_1904 = texts, formats, dialect, from_1904
        self._place = place
        self._row = self._column = 0
        self._row_hidden = self._all_hidden = self._spoken = False
        self._hidden: list[range] = []
        self._cells: list[str] = []
        self._kind, self._style = "n", "0"
        self._value: str | None = None
        self._inline: list[str] = []

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        """Begin an element. Two million of them are cells and values, so that these come first, in one step."""
        self.depth += 1
        if element == _V:
            self.text.clear()
        elif element == _C:
            self._begin_cell(attributes)
        elif element == _ROW:
            self._begin_row(attributes)
        else:
            self._begin_other(element, attributes)

    def _end(self, element: str) -> None:
        """End an element."""
        self.depth -= 1
        if element == _V:
            self._value = "".join(self.text)
        elif element == _C:
            text = self._cell_text()
            if text != "":
                self._add(text)
        elif element == _ROW:
            self._end_row()
        elif element == _T and not self._spoken:
            self._inline += self.text
            _check_parts(self._inline)
        elif element == _PHONETIC:
            self._spoken = False
        self.text.clear()

    def _begin_other(self, element: str, attributes: dict[str, str]) -> None:
        if self.depth == 1:
            self.is_sheet = element == f"{MAIN}worksheet"
        elif self.depth > DEEPEST:
            raise too_deep()
        elif element == _T:
            self.text.clear()
        elif element == _F and self.depth == 5:
            self._fault(FaultCode.FORMULA, _VALUE)
        elif element == _PHONETIC:
            self._spoken = True
        elif element == _FORMAT:
            self._all_hidden = attributes.get("zeroHeight") in _TRUE
        elif element == _COL and attributes.get("hidden") in _TRUE:
            first, last = (_whole(attributes.get(name), LAST_ROW) for name in ("min", "max"))
            self._hidden.append(range(first, last + 1))
            if len(self._hidden) > MOST_COLUMNS:
                raise TooLarge(f"A sheet may hide {MOST_COLUMNS} ranges of columns.")
        elif element == _MERGED:
            first_cell = re.match("([A-Z]{1,3})([0-9]{1,7})", attributes.get("ref", ""))
            column, row = first_cell.groups() if first_cell else ("", "")
            accepts = Accepts(form="one value in each cell: unmerge the cells")
            if len(self.faults) < MOST_FAULTS:
                self.faults.append(Fault(f"{self._place}/{row}/{column}", FaultCode.MERGED_CELLS, None, accepts))

    def _begin_row(self, attributes: dict[str, str]) -> None:
        number = _whole(attributes["r"], LAST_ROW) if "r" in attributes else self._row + 1
        if not self._row < number <= LAST_ROW or self.depth != 3:
            raise malformed("The rows of a sheet are not in order.", self._place)
        hidden = attributes.get("hidden")
        self._row, self._column = number, 0
        self._row_hidden = self._all_hidden if hidden is None else hidden in _TRUE
        self._cells = []

    def _end_row(self) -> None:
        if self._cells:
            if self._row_hidden and len(self.faults) < MOST_FAULTS:
                self.faults.append(Fault(f"{self._place}/{self._row}", FaultCode.HIDDEN, None, _VISIBLE))
            self.rows.append((self._row, self._cells))

    def _begin_cell(self, attributes: dict[str, str]) -> None:
        reference, number = attributes.get("r"), self._column + 1
        if reference is not None and reference != f"{column_letters(number)}{self._row}":
            number = self._number_of(reference)
        if number <= self._column or self.depth != 4:
            raise malformed("The cells of a row are not in order.", f"{self._place}/{self._row}")
        if number > MOST_COLUMNS:
            raise TooLarge(
                f"A table may have {MOST_COLUMNS} columns.",
                [Fault(f"{self._place}/{self._row}", FaultCode.TOO_MANY, None, Accepts(at_most_items=MOST_COLUMNS))],
            )
        self._column = number
        self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "0")
        self._value = None
        if self._inline:
            self._inline = []

    def _number_of(self, reference: str) -> int:
        """The number of the column of a cell by its reference, such as `C7`."""
        found = re.fullmatch("([A-Z]{1,3})([0-9]{1,7})", reference)
        if found is None or int(found[2]) != self._row:
            raise malformed("A cell is not in the row that it names.", f"{self._place}/{self._row}")
        number = 0
        for letter in found[1]:
            number = 26 * number + ord(letter) - 64
        return number

    def _add(self, text: str | None) -> None:
        """Add a cell with content to its row; `None` is a content that is not clear."""
        if text is None:
            self._fault(FaultCode.UNCLEAR_CELL, _VALUE if self._kind == "e" else _SHOWN)
            text = "?"
        if self._hidden and any(self._column in columns for columns in self._hidden):
            self._fault(FaultCode.HIDDEN, _VISIBLE)
        if len(text) > LONGEST_CELL:
            self._fault(FaultCode.TOO_LONG, Accepts(at_most_characters=LONGEST_CELL))
        gap = self._column - 1 - len(self._cells)
        if gap:
            self._cells += [""] * gap
        self._cells.append(text)

    def _cell_text(self) -> str | None:
        """The text of a cell; `None` if it is not clear."""
        stored, kind = self._value, self._kind
        if kind == "inlineStr":
            return plain_text("".join(self._inline))
        if not stored:
            return None if kind == "e" else ""
        if kind == "n":
            return self._number(stored.strip())
        if kind == "s":
            try:
                return self._texts[_whole(stored.strip(), len(self._texts))]
            except IndexError:
                raise malformed("A cell names a text that does not exist.", f"{self._place}/{self._row}") from None
        if kind == "str":
            return plain_text(stored)
        return {"0": "false", "1": "true"}.get(stored) if kind == "b" else None

    def _number(self, stored: str) -> str | None:
        try:
            format = self._formats[_whole(self._style, len(self._formats))] if self._formats else PLAIN
        except IndexError:
            raise malformed("A cell names a style that does not exist.", f"{self._place}/{self._row}") from None
        dialect = self._dialect
        return number_text(stored, format, from_1904=self._from_1904, dates=dialect.dates, decimal=dialect.decimal)

    def _fault(self, code: FaultCode, accepts: Accepts) -> None:
        if len(self.faults) < MOST_FAULTS:
            place = f"{self._place}/{self._row}/{column_letters(self._column)}"
            self.faults.append(Fault(place, code, None, accepts))


@cache
def column_letters(number: int) -> str:
    """The letters of a column by its number from 1."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def plain_text(stored: str) -> str | None:
    """A text of a workbook with the characters that XML cannot have, which are written as `_x000D_`; `None` if it has
    control characters.
    """
    if "_x" in stored:
        stored = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), stored)
    return None if not stored.isprintable() and _CONTROL.search(stored) else stored


def _check_parts(parts: list[str]) -> None:
    if sum(map(len, parts)) > 2 * LONGEST_CELL:
        raise TooLarge(f"A cell may have {LONGEST_CELL} characters.")


def _whole(text: str | None, most: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 8 else most + 1
