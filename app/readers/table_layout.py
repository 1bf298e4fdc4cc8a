"""Which column of a table is which field: declared by a study, declared by a request, or by the names of the columns.

`TableMapping` is what a study stores of a table that another system writes, such as an export of REDCap. A `Layout` is
that or the layout of one kind, and `planned` compares it with the header: the result says which cells each part of a
row reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, TooLarge, pointer
from app.readers.charsets import Charset
from app.readers.statements import Place
from app.readers.table_cells import Trouble
from app.readers.table_dates import ISO, DateForm
from app.readers.table_kinds import COLUMNS_OF, PATIENT, REQUIRED_OF, VALUE_FIELDS, TableKind, is_column, kinds_like
from app.readers.table_rows import DELIMITERS, MOST_COLUMNS, DecimalMark, Delimiter, Dialect, Row
from app.timeline.document import TEXT_PATTERN, Document
from app.timeline.normalize import MOST_FAULTS
from app.timeline.zones import TimeZone

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=TEXT_PATTERN)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[a-z][a-z0-9_.]*$")]
CellText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=TEXT_PATTERN)]
MaybeEmpty = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
MappingName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


def plain(name: str) -> str:
    """The name of a column as it is compared: without spaces around it, in any case."""
    return name.strip().casefold()


def _no_two_alike(names: Mapping[str, object]) -> Mapping[str, object]:
    if len(set(map(plain, names))) < len(names):
        raise _contradiction("Two names of columns differ in case or in spaces alone.")
    return names


def _contradiction(sentence: str, accepts: Accepts | None = None) -> PydanticCustomError:
    return PydanticCustomError("contradiction", "{sentence}", {"sentence": sentence, "accepts": accepts})


class ColumnWords(Document):
    """The words of a column, such as the codes of a choice. Any other word in this column is refused."""

    column: ColumnName = Field(description="The column.", examples=["sex"])
    means: dict[CellText, CellText] = Field(
        min_length=1, max_length=200, description="Each word, and ours.", examples=[{"1": "female", "2": "male"}]
    )


class TablePart(Document):
    """What one part of each row means: a fact of one kind.

    A row has the fact if `where` holds and a cell of the part is filled: the cell of the value or score, in the other
    kinds any cell. So a row may have several results.
    """

    kind: TableKind = Field(description="The kind of the fact.", examples=["labs"])
    where: Annotated[
        dict[ColumnName, Annotated[tuple[MaybeEmpty, ...], Field(min_length=1, max_length=100)]],
        AfterValidator(_no_two_alike),
    ] = Field(
        default_factory=dict,
        max_length=20,
        description="Columns, and the words of which each must have one; an empty text is an empty cell.",
        examples=[{"redcap_repeat_instrument": ["labs"]}],
    )
    columns: Annotated[dict[ColumnName, FieldName], AfterValidator(_no_two_alike)] = Field(
        min_length=1,
        max_length=100,
        description="Columns, and the field that each is: a column of the template of this kind.",
        examples=[{"lab_date": "time", "test": "code", "result": "value", "unit": "unit"}],
    )
    constants: dict[FieldName, CellText] = Field(
        default_factory=dict,
        max_length=50,
        description="Fields that no column has, and the cell that each would have.",
        examples=[{"lab": "A"}],
    )
    words: Annotated[tuple[ColumnWords, ...], Field(max_length=100)] = Field(
        default=(),
        description="Columns of `columns` with words of their own.",
        examples=[[{"column": "sex", "means": {"1": "female", "2": "male"}}]],
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        accepts = Accepts(one_of=tuple(name for name in COLUMNS_OF[self.kind] if name != PATIENT))
        stated = [*self.columns.values(), *self.constants]
        if not all(is_column(self.kind, name) and name != PATIENT for name in stated):
            raise _contradiction(
                "A column or a constant is declared to be a field that this kind does not have.", accepts
            )
        if len(set(stated)) < len(stated):
            raise _contradiction("A field is declared twice: by two columns, or by a column and a constant.")
        lacking = tuple(name for name in REQUIRED_OF[self.kind] if name not in stated and name != PATIENT)
        if lacking:
            raise _contradiction("A field that this kind needs is not declared.", Accepts(one_of=lacking))
        worded = [plain(each.column) for each in self.words]
        if len(set(worded)) < len(worded) or not {*worded} <= {*map(plain, self.columns)}:
            raise _contradiction("Words are declared twice of a column, or of one that `columns` does not name.")
        return self


class TableMapping(Document):
    """What a study declares of a table that another system writes: how it is written, and what its columns mean.

    Columns that are not named are not read.
    """

    name: MappingName = Field(description="The name that a request gives as `mapping`.", examples=["redcap"])
    patient: ColumnName = Field(description="The column with the number of the patient.", examples=["record_id"])
    parts: Annotated[tuple[TablePart, ...], Field(min_length=1, max_length=50)] = Field(
        description="The parts of a row.",
        examples=[
            [{"kind": "assessments", "columns": {"visit_date": "time", "mmt": "score"}, "constants": {"code": "MMT"}}]
        ],
    )
    delimiter: Literal[",", ";", "tab"] = Field(default=",", description="The separator.", examples=[","])
    decimal: DecimalMark = Field(default=".", description="The decimal mark of all numbers.", examples=["."])
    missing: Annotated[tuple[CellText, ...], Field(max_length=50)] = Field(
        default=(), description="Words for a missing value. An empty cell is always one.", examples=[["NA"]]
    )
    dates: DateForm = Field(default=ISO, description="The form of all dates.", examples=["DD.MM.YYYY"])
    charset: Charset = Field(default="UTF-8", description="The character set.", examples=["windows-1252"])
    time_zone: TimeZone | None = Field(
        default=None,
        max_length=64,
        description="Time zone of times without an offset; without it, that of the study.",
        examples=["Asia/Tokyo"],
    )

    @property
    def dialect(self) -> Dialect:
        """How the table is written."""
        between: Delimiter = "\t" if self.delimiter == "tab" else self.delimiter
        zone = ZoneInfo(self.time_zone) if self.time_zone else None
        return Dialect(between, self.decimal, frozenset(self.missing), self.dates, self.charset, zone)


@dataclass(frozen=True, slots=True)
class OneKind:
    """The layout of a table of one kind: its columns have the names of their fields, but for those that are declared.

    `columns` has those by their plain names; an empty field means that the column is not read. With `exact`, names of
    columns have no other case than those of the fields.
    """

    kind: TableKind
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False


def one_kind(kind: TableKind, columns: str, constants: str) -> OneKind:
    """The layout of one kind with declarations as a request or a command has them, separated by commas.

    `columns` has pairs such as `Pat. No.:patient` (`Comment:` is not read), `constants` such as `unit:U/L`. Raises
    `InvalidDocument`.
    """
    faults: list[Fault] = []
    pairs = [entry.rpartition(":") for entry in columns.split(",") if entry.strip()]
    named = [(plain(name), known.strip()) for name, _, known in pairs]
    given = [entry.partition(":") for entry in constants.split(",") if entry.strip()]
    fixed = [(known.strip(), cell.strip()) for known, _, cell in given]
    at_columns, at_constants = "/query/columns", "/query/constants"
    accepts = Accepts(one_of=COLUMNS_OF[kind])
    if any(not colon or not name for (_, colon, _), (name, _) in zip(pairs, named, strict=True)):
        faults.append(Fault(at_columns, FaultCode.BAD_TEXT, None, Accepts(form="column:field, separated by commas")))
    if any(known and not is_column(kind, known) for _, known in named):
        faults.append(Fault(at_columns, FaultCode.UNKNOWN_VALUE, "One of the fields is unknown.", accepts))
    if len({name for name, _ in named}) < len(named):
        faults.append(Fault(at_columns, FaultCode.CONTRADICTION, "A column is declared to be two fields."))
    fields = [known for known in (*(known for _, known in named), *(known for known, _ in fixed)) if known]
    if len(set(fields)) < len(fields):
        why = "A field is declared twice: by two columns, or by a column and a constant."
        faults.append(Fault(at_columns if named else at_constants, FaultCode.CONTRADICTION, why))
    if any(not colon or not cell for (_, colon, _), (_, cell) in zip(given, fixed, strict=True)):
        faults.append(Fault(at_constants, FaultCode.BAD_TEXT, None, Accepts(form="field:cell, separated by commas")))
    if any(known == PATIENT or not is_column(kind, known) for known, _ in fixed):
        accepts = Accepts(one_of=tuple(name for name in COLUMNS_OF[kind] if name != PATIENT))
        faults.append(Fault(at_constants, FaultCode.UNKNOWN_VALUE, "One of the fields is unknown.", accepts))
    if faults:
        raise InvalidDocument(faults=faults)
    return OneKind(kind, dict(named), dict(fixed))


Layout = OneKind | TableMapping
LABS = OneKind("labs", exact=True)
"""The layout of a table of results at its own address."""


@dataclass(frozen=True, slots=True)
class PartOfRow:
    """What one part of a row reads: of which cell each field is, and where a fault of the field is.

    The part is in a row if each cell in `where` has one of the words, and a cell of `filled` is not empty, if there
    are any.
    """

    kind: TableKind
    cells: Sequence[tuple[str, int]]
    constants: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    where: Sequence[tuple[int, frozenset[str]]]
    filled: Sequence[int]
    places: Mapping[str, str]

    def given(self, cells: Sequence[str], missing: frozenset[str]) -> dict[str, str] | None:
        """The cells of a row that are not missing, by field; `None` if the row does not have this part."""
        if self.where and not all(cells[at].strip() in words for at, words in self.where):
            return None
        if self.filled and all((cell := cells[at].strip()) == "" or cell in missing for at in self.filled):
            return None
        found = {name: cell for name, at in self.cells if (cell := cells[at].strip()) and cell not in missing}
        return {**self.constants, **found} if self.constants else found

    def translated(self, given: dict[str, str]) -> tuple[dict[str, str], dict[str, Trouble]]:
        """The same with our words, and the troubles of the cells whose word is not declared."""
        troubles: dict[str, Trouble] = {}
        for name, words in self.words.items():
            if name in given and given[name] in words:
                given = given | {name: words[given[name]]}
            elif name in given:
                troubles[name] = Trouble(FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=tuple(words)))
                given = {each: cell for each, cell in given.items() if each != name}
        return given, troubles

    def place(self, row: str) -> Place:
        """The place of this part of a row that is at a place."""
        return Place(row, self.places)


class RowPlan(NamedTuple):
    """What is read of each row: the cell with the patient and its place in a row, and the parts.

    `width` is the number of cells of a row, `unread` has the numbers of the columns that are not read.
    """

    width: int
    patient: int
    patient_place: str
    parts: Sequence[PartOfRow]
    unread: Sequence[int]


def planned(header: Row, layout: Layout, dialect: Dialect) -> RowPlan:
    """What is read of the rows below a header. Raises `InvalidDocument` with its faults, and `TooLarge`."""
    if len(header.cells) > MOST_COLUMNS:
        raise TooLarge(f"A table may have {MOST_COLUMNS} columns.")
    names = [cell.strip() for cell in header.cells]
    exact = isinstance(layout, OneKind) and layout.exact
    found = list(islice(_delimiter_faults(header.line, names, layout, dialect), 1))
    if not found:
        compared = names if exact else list(map(plain, names))
        faults = (
            _faults_of_one(header.line, compared, layout)
            if isinstance(layout, OneKind)
            else _faults(header.line, compared, layout)
        )
        found = list(islice(faults, MOST_FAULTS))
        if not found:
            return _of_one(compared, layout) if isinstance(layout, OneKind) else _of_parts(compared, layout)
    raise InvalidDocument(faults=found)


def _delimiter_faults(line: int, names: Sequence[str], layout: Layout, dialect: Dialect) -> Iterator[Fault]:
    """The fault of a header in which the cells have another delimiter than the declared one."""
    if isinstance(layout, OneKind):
        needed = set(REQUIRED_OF[layout.kind]) - {*layout.constants, *layout.columns.values()}
    else:
        needed = {plain(layout.patient)}
    if len(needed) < 2 and not (len(names) == 1 and needed):
        return
    if needed.issubset(map(plain, names)):
        return
    for other, words in DELIMITERS.items():
        cells = {plain(name.strip(' "')) for cell in names for name in cell.split(other)}
        if other != dialect.delimiter and cells.issuperset(needed):
            guess = f"This looks like a header with {words} between its cells; declare the delimiter if it is."
            yield Fault(f"/{line}", FaultCode.UNKNOWN_COLUMN, guess, _accepted(layout))
            return


def _accepted(layout: Layout) -> Accepts:
    """The names of the columns that a header may have."""
    if isinstance(layout, OneKind):
        return Accepts(one_of=COLUMNS_OF[layout.kind])
    named = [layout.patient, *(name for part in layout.parts for name in (*part.where, *part.columns))]
    return Accepts(one_of=tuple(dict.fromkeys(named)))


def _field(name: str, layout: OneKind) -> str | None:
    """The field that a column is; an empty text if it is declared not to be read, `None` if it is unknown."""
    if name in layout.columns:
        return layout.columns[name]
    return name if is_column(layout.kind, name) else None


def _faults_of_one(line: int, names: Sequence[str], layout: OneKind) -> Iterator[Fault]:
    """The faults of a header. Columns are named by their number, because their names are the sender's own text."""
    accepts = _accepted(layout)
    others = [] if layout.columns else kinds_like(names)
    if others and layout.kind not in others:
        another = f"This looks like the header of a table of another kind: {', '.join(others)}."
        yield Fault(f"/{line}", FaultCode.UNKNOWN_COLUMN, another, accepts)
        return
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        known = _field(name, layout)
        if known is None:
            why = None if name else "A column has no name. A merged cell names its first column only."
            yield Fault(f"/{line}/{number}", FaultCode.UNKNOWN_COLUMN, None if layout.exact else why, accepts)
        elif known in seen or (name in layout.columns and name in names[: number - 1]):
            yield Fault(f"/{line}/{number}", FaultCode.REPEATED_COLUMN)
        elif known in layout.constants:
            yield Fault(f"/{line}/{number}", FaultCode.REPEATED_COLUMN, "This field is declared to be a constant.")
        seen |= {known} if known else set()
    for name in REQUIRED_OF[layout.kind]:
        if name not in seen and name not in layout.constants:
            yield Fault(f"/{line}/{name}", FaultCode.MISSING)
    for name, declared in layout.columns.items():
        told = declared in REQUIRED_OF[layout.kind] and declared not in seen
        if declared and name not in names and not told:
            yield Fault(
                f"/{line}/{declared}", FaultCode.MISSING, "The header does not have the column that is declared."
            )


def _of_one(names: Sequence[str], layout: OneKind) -> RowPlan:
    fields = [_field(name, layout) for name in names]
    cells = [(known, at) for at, known in enumerate(fields) if known and known != PATIENT]
    places = {name: f"/{name}" for name in (*COLUMNS_OF[layout.kind], *(known for known, _ in cells))}
    part = PartOfRow(layout.kind, cells, dict(layout.constants), {}, (), (), places)
    unread = [at for at, known in enumerate(fields, 1) if not known]
    return RowPlan(len(names), fields.index(PATIENT), f"/{PATIENT}", (part,), unread)


def _faults(line: int, names: Sequence[str], mapping: TableMapping) -> Iterator[Fault]:
    named = [mapping.patient, *(name for part in mapping.parts for name in (*part.where, *part.columns))]
    for name in dict.fromkeys(named):
        count = names.count(plain(name))
        if count == 0:
            why = "The header does not have this column, which the mapping names."
            yield Fault(pointer(line, name), FaultCode.MISSING, why)
        elif count > 1:
            again = names.index(plain(name), names.index(plain(name)) + 1) + 1
            yield Fault(f"/{line}/{again}", FaultCode.REPEATED_COLUMN)


def _of_parts(names: Sequence[str], mapping: TableMapping) -> RowPlan:
    at = {name: place for place, name in enumerate(names)}
    patient = at[plain(mapping.patient)]
    parts = [_part(part, at) for part in mapping.parts]
    read = {patient, *(place for part in parts for _, place in (*part.cells, *((0, place) for place, _ in part.where)))}
    unread = [number for number, name in enumerate(names, 1) if at[name] not in read]
    return RowPlan(len(names), patient, pointer(mapping.patient), parts, unread)


def _part(part: TablePart, at: Mapping[str, int]) -> PartOfRow:
    cells = [(known, at[plain(name)]) for name, known in part.columns.items()]
    places = {name: f"/{name}" for name in COLUMNS_OF[part.kind]}
    places |= {known: pointer(name) for name, known in part.columns.items()}
    value = VALUE_FIELDS.get(part.kind)
    if value is not None:  # a row may have several of them
        places[""] = places[value]
    filled = [place for known, place in cells if value in {known, None}]
    fields = {plain(name): known for name, known in part.columns.items()}
    words = {fields[plain(own.column)]: own.means for own in part.words}
    where = [(at[plain(name)], frozenset(allowed)) for name, allowed in part.where.items()]
    return PartOfRow(part.kind, cells, part.constants, words, where, filled, places)
