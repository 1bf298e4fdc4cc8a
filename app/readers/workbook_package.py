"""Opens the archive of a workbook (.xlsx) and reads the XML of its parts piece by piece, within limits.

Nothing is unpacked to the disk or as a whole, no archive within the archive is opened, and no entity is expanded. What
cannot be read safely or exactly is refused by name: macros, links to other files, encryption, and other formats.
"""

import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO
from xml.parsers import expat

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument, TooLarge
from app.readers.budget import check_time

MOST_PARTS = 1_000
"""Greatest number of parts of one workbook."""
MOST_NAMED = 10 * MOST_PARTS
"""Greatest number of parts that one part names: their types, or what it refers to."""
LARGEST_DIRECTORY = 200_000
"""Greatest size of the table of contents of the archive, in bytes."""
MOST_UNPACKED = 200_000_000
"""Greatest size of all parts together when they are unpacked, in bytes: half a million rows of ten columns."""
MOST_TIMES = 150
"""How many times as large as in the archive a part may be when it is unpacked. Sheets are about ten times as large."""
_ALWAYS_FREE = 1_000_000
"""A part of this size in bytes may be compressed to any size."""
LONGEST_TAG = 1_000_000
"""Greatest size of one tag of XML in bytes."""
DEEPEST = 50
"""How deep elements may be nested."""
_PIECE = 65_536
_MOST_TEXTS = 1_000
"""How many pieces of text, of at most 8,192 characters each, may stand between two tags."""

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main "
"""The namespace of workbooks, as it stands before the names of elements."""
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/"
_SHEETS = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
ACCEPTED = Accepts(form="a workbook (.xlsx) without macros, links to other files and a password, or a table (CSV)")
_COMPOUND = b"\xd0\xcf\x11\xe0"
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_END_SIZE, _END_64_SIZE, _LONGEST_COMMENT = 22, 20, 65_535
_SIGNS = ("vba", "macro", "dialogsheet", "activex")
_OUTSIDE = ("externallink", "connections+xml", "querytable")


def is_workbook(head: bytes) -> bool:
    """Whether content begins as a workbook does, of this or of an older kind."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", _COMPOUND))


class Package:
    """The parts of a workbook. Raises `InvalidDocument`, `MalformedDocument` or `TooLarge` if it is not read here."""

    def __init__(self, opened: BinaryIO) -> None:
        _check_outside(opened)
        try:
            self._archive = zipfile.ZipFile(opened)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            raise malformed("The archive of the workbook is damaged.") from None
        self._parts: dict[str, zipfile.ZipInfo] = {}
        for part in self._archive.infolist():
            _check_size(part)
            if self._parts.setdefault(part.filename.lower(), part) is not part:
                raise malformed("The workbook has two parts of the same name.")
        if sum(part.file_size for part in self._parts.values()) > MOST_UNPACKED:
            raise _too_large()
        self.workbook = self._found_workbook()

    def has(self, name: str) -> bool:
        """Whether there is a part of this name."""
        return name.lower() in self._parts

    def read(self, name: str, parser: "Parser") -> Iterator[None]:
        """Read a part piece by piece; after each piece, the parser has what the piece completed."""
        for piece in self._pieces(name):
            check_time()
            parser.feed(piece)
            yield
        parser.end()
        yield

    def _pieces(self, name: str) -> Iterator[bytes]:
        part = self._parts.get(name.lower())
        if part is None:
            raise malformed("The workbook lacks a part that it names.")
        try:
            with self._archive.open(part) as unpacked:
                while piece := unpacked.read(_PIECE):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
            raise malformed("A part of the workbook cannot be unpacked.") from None

    def elements(self, name: str) -> Iterator[tuple[int, str, dict[str, str]]]:
        """The elements of a small part, each with its depth from 1, its name and its attributes."""
        parser = _Elements()
        for _ in self.read(name, parser):
            yield from parser.found
            parser.found.clear()

    def targets(self, name: str) -> Mapping[str, tuple[str, str]]:
        """What a part refers to within the workbook: its kind and the name of the part, by the identifier."""
        folder, file = posixpath.split(name)
        relations = posixpath.join(folder, "_rels", f"{file}.rels")
        found: dict[str, tuple[str, str]] = {}
        for _, element, attributes in self.elements(relations) if self.has(relations) else ():
            if element != f"{_PACKAGE}relationships Relationship" or attributes.get("TargetMode") == "External":
                continue
            target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))
            kind = attributes.get("Type", "").rpartition("/")[2]
            found[attributes.get("Id", "")] = (kind, target.lstrip("/"))
            _check_named(found)
        return found

    def _found_workbook(self) -> str:
        """The name of the part that lists the sheets, if it is one of a workbook that is read here."""
        if not self.has("[Content_Types].xml"):
            raise _refused("This archive is no workbook.", FaultCode.UNSUPPORTED)
        types: dict[str, str] = {}
        for _, element, attributes in self.elements("[Content_Types].xml"):
            kind = element.removeprefix(f"{_PACKAGE}content-types ")
            if kind in {"Override", "Default"}:
                name = attributes.get("PartName" if kind == "Override" else "Extension", "").lower()
                types[name if kind == "Override" else f".{name}"] = attributes.get("ContentType", "").lower()
                _check_named(types)
        told = "\n".join((*types.values(), *self._parts))
        if any(sign in told for sign in _SIGNS):
            raise _refused("The workbook has macros.", FaultCode.MACROS)
        if any(sign in told for sign in _OUTSIDE):
            raise _refused("The workbook has links to other files or data.", FaultCode.EXTERNAL_LINK)
        name = next((name for kind, name in self.targets("").values() if kind == "officeDocument"), "")
        if types.get(f"/{name.lower()}", types.get(posixpath.splitext(name)[1].lower())) != _SHEETS:
            raise _refused("This is no workbook of the kind .xlsx.", FaultCode.UNSUPPORTED)
        return name


class Parser:
    """Reads XML that arrives in pieces. `text` has the pieces of text since it was cleared.

    A document type is refused, so that there are no entities.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.text: list[str] = []
        self._fed = 0
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.buffer_text = True
        self._expat.StartDoctypeDeclHandler = _no_document_type
        self._expat.CharacterDataHandler = self.text.append
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end

    def on_start(self, element: str, attributes: dict[str, str]) -> None:
        """Take the begin of an element; `depth` counts it."""

    def on_end(self, element: str) -> None:
        """Take the end of an element; `depth` counts it still."""

    def feed(self, piece: bytes) -> None:
        """Read a piece."""
        self._fed += len(piece)
        self._parse(piece, last=False)
        if self._fed - self._expat.CurrentByteIndex > LONGEST_TAG or len(self.text) > _MOST_TEXTS:
            raise TooLarge(f"A tag or a text in the XML of a workbook may have {LONGEST_TAG} bytes.")

    def end(self) -> None:
        """Check that the XML is complete."""
        self._parse(b"", last=True)

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self._expat.Parse(piece, last)
        except expat.ExpatError:
            raise malformed("The XML of the workbook is damaged.") from None

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise too_deep()
        self.on_start(element, attributes)

    def _end(self, element: str) -> None:
        self.on_end(element)
        self.depth -= 1


class _Elements(Parser):
    """Finds all elements, each with its depth, its name and its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str, dict[str, str]]] = []

    def on_start(self, element: str, attributes: dict[str, str]) -> None:
        """Take an element."""
        self.text.clear()
        self.found.append((self.depth, element, attributes))


def _check_named(named: Mapping[str, object]) -> None:
    if len(named) > MOST_NAMED:
        raise TooLarge(f"A part of a workbook may name {MOST_NAMED} parts.")


def too_deep() -> TooLarge:
    """The refusal of elements that are nested too deep."""
    return TooLarge(f"Elements in the XML of a workbook may be nested {DEEPEST} times.")


def malformed(detail: str, place: str = "") -> MalformedDocument:
    """The refusal of a workbook that is damaged."""
    return MalformedDocument(detail, [Fault(place, FaultCode.MALFORMED, detail, ACCEPTED)])


def _refused(detail: str, code: FaultCode) -> InvalidDocument:
    return InvalidDocument(detail, [Fault("", code, None, ACCEPTED)])


def _too_large() -> TooLarge:
    return TooLarge(
        f"A workbook may have {MOST_UNPACKED} bytes when it is unpacked, and each part {MOST_TIMES} times its size in "
        "the archive. Send its sheets as tables (CSV)."
    )


def _no_document_type(*_: object) -> None:
    raise malformed("The XML of a workbook may not declare a document type.")


def _check_outside(opened: BinaryIO) -> None:
    """Refuse another format, and a table of contents that would need much memory, before it is read."""
    size = opened.seek(0, 2)
    opened.seek(0)
    if opened.read(4) == _COMPOUND:
        opened.seek(0)
        encrypted = "EncryptedPackage".encode("utf-16-le") in opened.read(1_000_000) or _within_end(opened, size)
        raise (
            _refused("The workbook is encrypted.", FaultCode.ENCRYPTED)
            if encrypted
            else _refused("This is a workbook of an old kind (.xls).", FaultCode.UNSUPPORTED)
        )
    opened.seek(max(size - _END_SIZE - _END_64_SIZE - _LONGEST_COMMENT, 0))
    end = opened.read()
    at = len(end) - _END_SIZE if end[-_END_SIZE:-18] == _END and end[-2:] == b"\0\0" else end.rfind(_END)
    if at < 0 or len(end) < at + _END_SIZE:
        raise malformed("The archive of the workbook is not complete.")
    number, directory = (int.from_bytes(end[at + begin : at + 16], "little") for begin in (10, 12))
    is_64 = at >= _END_64_SIZE and end[at - _END_64_SIZE :].startswith(_END_64)
    if number & 0xFFFF > MOST_PARTS or directory > LARGEST_DIRECTORY or is_64:
        raise TooLarge(f"A workbook may have {MOST_PARTS} parts.")


def _within_end(opened: BinaryIO, size: int) -> bool:
    opened.seek(max(size - 1_000_000, 0))
    return "EncryptedPackage".encode("utf-16-le") in opened.read()


def _check_size(part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 1:
        raise _refused("The archive of the workbook is encrypted.", FaultCode.ENCRYPTED)
    if part.file_size > max(_ALWAYS_FREE, MOST_TIMES * part.compress_size) or part.file_size > MOST_UNPACKED:
        raise _too_large()
