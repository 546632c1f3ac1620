"""Publish a spreadsheet as a ministry keeps it: titles above the header, its own words, numbers stored as numbers.

The numbers are generated; they are nobody's.
"""

import secrets
import tempfile
import zipfile
from pathlib import Path

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.tables import TableOptions

ROWS: list[list[str | int]] = [
    ["DAFTAR NOMOR PENIPUAN"],
    ["per 20 November 2026"],
    ["No.", "Nomor HP", "Jenis", "Tanggal", "Keterangan"],
    [1, "0812-0000-0001", "penipuan", "20/11/2026", "laporan warga"],
    [2, 81200000002, "judi", "21/11/2026", ""],
]

OPTIONS = TableOptions(
    columns={"number": "Nomor HP", "category": "Jenis", "since": "Tanggal"},
    values={"category": {"penipuan": "fraud", "judi": "gambling"}},
    date_format="dd/mm/yyyy",
)


def main(folder: Path) -> None:
    """Make the workbook, publish it, and look one of its numbers up."""
    workbook = folder / "daftar.xlsx"
    save(ROWS, workbook)
    publisher = Publisher.init(folder / "ministry", feeds=["id-all"], passphrase=secrets.token_urlsafe(), region="ID")
    result = publisher.release("id-all", workbook, options=OPTIONS, notify=print)
    print(f"release {result.serial}: {result.rows} entries, {result.invalid} rejects, from {result.column!r}")

    with Blocklist.open(
        publisher.repository.as_uri(), feed="id-all", root=publisher.root, region="ID", cache_dir=folder / "cache"
    ) as blocklist:
        blocklist.sync()
        verdict = blocklist.check("0812 0000 0002")
    print(f"0812 0000 0002: {verdict.reason}, {verdict.entries[0].category}")
    assert (result.rows, result.invalid, verdict.blocked, verdict.entries[0].category) == (2, 0, True, "gambling")


def save(rows: list[list[str | int]], path: Path) -> None:
    """Write the least that is a workbook; a spreadsheet program writes more."""
    office = "http://schemas.openxmlformats.org"
    sheet = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    main_part = f"{office}/spreadsheetml/2006/main"
    documents = f"{office}/officeDocument/2006/relationships"
    link = f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="r1" Type="{documents}/'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_rels/.rels", f'{link}officeDocument" Target="xl/workbook.xml"/></Relationships>')
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main_part}" xmlns:r="{documents}"><sheets><sheet name="Data" sheetId="1" r:id="r1"/>'
            "</sheets></workbook>",
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f'{link}worksheet" Target="data.xml"/></Relationships>')
        archive.writestr("xl/data.xml", f'<worksheet xmlns="{main_part}"><sheetData>{sheet}</sheetData></worksheet>')


def cell(value: str | int) -> str:
    """One cell: a number is stored as a number."""
    if isinstance(value, int):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
