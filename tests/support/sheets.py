"""Makes small spreadsheets, as their formats require at least, from generated cells."""

import datetime
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

Cell = str | int | float | datetime.date | None
"""A date becomes a number with a style, as spreadsheets have it; a text is stored as text."""

MINISTRY: Sequence[Sequence[Cell]] = [
    ["DAFTAR NOMOR PENIPUAN"],
    ["per 20 November 2026"],
    ["No.", "Nomor HP", "Jenis", "Tanggal", "Keterangan"],
    [1, "0812-3456-7890", "penipuan", datetime.date(2026, 11, 20), "x"],
    [2, 81234567891.0, "judi", datetime.date(2026, 11, 21), 0.5],
    [3, 81234567892, None, "21/11/2026", None],
]
"""A list as a ministry keeps it, with generated numbers."""

_SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_ODS = "urn:oasis:names:tc:opendocument:xmlns"

_DAY_ZERO = datetime.date(1899, 12, 30)


def write_xlsx(
    path: Path, sheets: dict[str, Sequence[Sequence[Cell]]], *, merged: Sequence[str] = (), first_row: int = 1
) -> Path:
    """Write a workbook of Office Open XML.

    Args:
        path: the file.
        sheets: rows by sheet.
        merged: ranges such as ``B2:B3`` that are merged in each sheet.
        first_row: the row of the first given one.
    """
    names = list(sheets)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SPREADSHEET}" xmlns:r="{_RELATIONS}"><sheets>'
        + "".join(f'<sheet name="{escape(name)}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(names, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="r{i}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{i}.xml"/>'
            for i in range(1, len(names) + 1)
        )
        + f'<Relationship Id="r0" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_SPREADSHEET}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    joined = "".join(f'<mergeCell ref="{area}"/>' for area in merged)
    for i, rows in enumerate(sheets.values(), 1):
        body = "".join(_xlsx_row(number, row) for number, row in enumerate(rows, first_row))
        tail = f'<mergeCells count="{len(merged)}">{joined}</mergeCells>' if merged else ""
        parts[f"xl/worksheets/sheet{i}.xml"] = (
            f'<worksheet xmlns="{_SPREADSHEET}"><sheetData>{body}</sheetData>{tail}</worksheet>'
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return path


def _xlsx_row(number: int, row: Sequence[Cell]) -> str:
    cells = ""
    for column, cell in enumerate(row):
        place = f"{chr(ord('A') + column)}{number}"
        if isinstance(cell, str):
            cells += f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
        elif isinstance(cell, datetime.date):
            cells += f'<c r="{place}" s="1"><v>{(cell - _DAY_ZERO).days}</v></c>'
        elif cell is not None:
            cells += f'<c r="{place}"><v>{cell!r}</v></c>'
    return f'<row r="{number}">{cells}</row>'


def write_ods(path: Path, sheets: dict[str, Sequence[Sequence[Cell]]]) -> Path:
    """Write a spreadsheet of OpenDocument."""
    tables = "".join(
        f'<table:table table:name="{escape(name)}">'
        + "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="{_ODS}:office:1.0" '
        f'xmlns:table="{_ODS}:table:1.0" xmlns:text="{_ODS}:text:1.0" office:version="1.2"><office:body>'
        f"<office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        f'<?xml version="1.0" encoding="UTF-8"?><manifest:manifest xmlns:manifest="{_ODS}:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="/" '
        'manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", manifest)
    return path


def _ods_cell(cell: Cell) -> str:
    if cell is None:
        return "<table:table-cell/>"
    if isinstance(cell, str):
        return f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
    if isinstance(cell, datetime.date):
        return f'<table:table-cell office:value-type="date" office:date-value="{cell.isoformat()}"/>'
    return f'<table:table-cell office:value-type="float" office:value="{cell!r}"/>'
