"""Writes workbooks part by part, also such as no spreadsheet program writes."""

import io
import zipfile
from collections.abc import Iterable, Mapping

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PARTS = "http://schemas.openxmlformats.org/package/2006"
KINDS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
TYPES = "[Content_Types].xml"
WORKBOOK, SHEET, STYLES, TEXTS = "xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/sharedStrings.xml"
RELATIONS = "xl/_rels/workbook.xml.rels"


def text(value, reference=None, **attributes):
    """A cell with a text."""
    return cell(f"<is><t>{value}</t></is>", reference, t="inlineStr", **attributes)


def number(value, reference=None, **attributes):
    """A cell with a number."""
    return cell(f"<v>{value}</v>", reference, **attributes)


def cell(content, reference=None, **attributes):
    """A cell with this XML in it."""
    named = ({"r": reference} if reference else {}) | attributes
    return f"<c{attributes_of(named)}>{content}</c>"


def attributes_of(named):
    """These attributes in a tag."""
    return "".join(f' {name}="{value}"' for name, value in named.items())


def row(*cells, **attributes):
    """A row; a text is a cell with this text."""
    written = "".join(each if each.startswith("<c") else text(each) for each in cells)
    return f"<row{attributes_of(attributes)}>{written}</row>"


def sheet(*rows, before="", after=""):
    """The part of a sheet."""
    written = "".join(rows)
    return f'<worksheet xmlns="{MAIN}">{before}<sheetData>{written}</sheetData>{after}</worksheet>'


def parts(sheets: Mapping[str, str], *, settings="", attributes: Mapping[str, Mapping[str, str]] | None = None):
    """The parts of a workbook with these sheets."""
    numbered = list(enumerate(sheets, 1))
    own = {name: attributes_of((attributes or {}).get(name, {})) for name in sheets}
    listed = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"{own[name]}/>' for i, name in numbered)
    related = "".join(
        f'<Relationship Id="r{i}" Type="{KINDS}/worksheet" Target="worksheets/sheet{i}.xml"/>' for i, _ in numbered
    )
    related += f'<Relationship Id="rS" Type="{KINDS}/styles" Target="/xl/styles.xml"/>'
    related += f'<Relationship Id="rT" Type="{KINDS}/sharedStrings" Target="sharedStrings.xml"/>'
    return {
        TYPES: f'<Types xmlns="{PARTS}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{WORKBOOK}" ContentType="{TYPE}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PARTS}/relationships">'
        f'<Relationship Id="r1" Type="{KINDS}/officeDocument" Target="{WORKBOOK}"/></Relationships>',
        WORKBOOK: f'<workbook xmlns="{MAIN}" xmlns:r="{KINDS}">{settings}<sheets>{listed}</sheets></workbook>',
        RELATIONS: f'<Relationships xmlns="{PARTS}/relationships">{related}</Relationships>',
        STYLES: styles(),
        TEXTS: texts(),
    } | {f"xl/worksheets/sheet{i}.xml": sheets[name] for i, name in numbered}


def styles(*codes):
    """The part with the formats: style 0 is General, the others have these codes, or these numbers of built-in ones."""
    own = {164 + i: code for i, code in enumerate(codes) if isinstance(code, str)}
    listed = "".join(f"<numFmt numFmtId=\"{i}\" formatCode='{code}'/>" for i, code in own.items())
    used = [0, *(164 + i if isinstance(code, str) else code for i, code in enumerate(codes))]
    formats = "".join(f'<xf numFmtId="{each}"/>' for each in used)
    return (
        f'<styleSheet xmlns="{MAIN}"><numFmts>{listed}</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        f"<cellXfs>{formats}</cellXfs></styleSheet>"
    )


def texts(*items):
    """The part with the texts that cells share."""
    written = "".join(items)
    return f'<sst xmlns="{MAIN}">{written}</sst>'


def zipped(files: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]], compression=zipfile.ZIP_DEFLATED):
    """An archive of these parts."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, content)
    return written.getvalue()


def workbook(*rows, **changed):
    """A workbook with one sheet, `labs`, of these rows."""
    return zipped(parts({"labs": sheet(*rows)}) | changed)
