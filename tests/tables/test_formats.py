"""JSON and address books, and files that are something else."""

import bz2
import io
import json
import lzma
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import normalize
from blocklist_sdk.tables.table import open_table


def read(data: bytes | str | Path, **options: Any) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    source = data if isinstance(data, Path) else io.BytesIO(data.encode() if isinstance(data, str) else data)
    with open_table(source, **options) as table:
        rows = []
        for batch in table.batches:
            cells = zip(*(column.to_pylist() for column in batch.rows.columns), strict=True)
            rows += [(line, list(row)) for line, row in zip(batch.lines.tolist(), cells, strict=True)]
        return table.names, rows


def test_json_arrays() -> None:
    assert read('["0812-3456-7890", 6281234567891]') == (["number"], [(1, ["0812-3456-7890"]), (2, ["6281234567891"])])
    document = [{"number": "0812", "category": "fraud"}, {"number": 6281234567891.0, "scope": ["sms", "voice"]}]
    assert read(json.dumps(document, indent=2)) == (
        ["number", "category", "scope"],
        [(1, ["0812", "fraud", None]), (2, ["6281234567891", None, "sms+voice"])],
    )


@pytest.mark.parametrize("indent", [None, 2])
def test_json_objects_keyed_by_number(indent: int | None) -> None:
    document = {"+6281234567890": {"category": "fraud"}, "+6281234567891": "phishing", "+6281234567892": None}
    assert read(json.dumps(document, indent=indent)) == (
        ["number", "category"],
        [(1, ["+6281234567890", "fraud"]), (2, ["+6281234567891", "phishing"]), (3, ["+6281234567892", None])],
    )


GENERATED = ("+6281234567890", "+6281234567891")


@pytest.mark.parametrize("keys", [("rec-1", "rec-2"), GENERATED])
def test_a_number_inside_of_an_object_is_the_number(keys: tuple[str, str]) -> None:
    document = {key: {"number": number, "category": "x"} for key, number in zip(keys, GENERATED, strict=True)}
    _, rows = read(json.dumps(document, indent=2))
    assert rows == [(1, [GENERATED[0], "x"]), (2, [GENERATED[1], "x"])]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"6289999990": {"number": "+6281234567890"}}, "1 of its 1 keys look like numbers as well"),
        ({"rec-1": {"Number": "+6281234567890"}, "rec-2": {"tel": "+6281234567891"}}, "1 of its 2 values have none"),
    ],
)
def test_an_object_with_two_kinds_of_numbers_is_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(json.dumps(document, indent=2))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_json_lines_have_their_lines(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = end.join(['{"number": "0812"}', "", '{"number": "0813", "x": 1.5}', '{"number": 1}'])
    expected = [(1, ["0812", None]), (2, [None, None]), (3, ["0813", "1.5"]), (4, ["1", None])]
    assert read(text) == (["number", "x"], expected)
    assert read(text + end) == (["number", "x"], expected)


@pytest.mark.parametrize("number", ["6.28E+12", "6281234567890.5", "-6281234567890", "1" + "0" * 40])
def test_a_number_in_json_whose_digits_are_gone_is_no_telephone_number(number: str) -> None:
    ((_, (cell,)),) = read(f'[{{"number": {number}}}]')[1]
    assert "E+" in cell


@pytest.mark.parametrize("text", ['{"number": [}', '["0812", ', '{"feed": 5, "rows": []}'])
def test_what_begins_like_json_and_is_not_a_list_is_an_error(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"JSON|no single column"):
        read(text)


CARDS = """BEGIN:VCARD
VERSION:2.1
FN:Ayu
TEL;CELL;VOICE:0812-3456-7890
END:VCARD

BEGIN:VCARD
VERSION:3.0
FN:Budi\\, Jakarta
item1.TEL;TYPE=CELL:+62 812
 -3456-7891
TEL;TYPE="work,voice":+62 21 5550 100
NOTE:TEL:no
END:VCARD
BEGIN:VCARD
VERSION:4.0
TEL;VALUE=uri;TYPE="voice,home":tel:+62-812-3456-7892;ext=5
TEL;VALUE=uri:tel:+6281234567893
END:VCARD
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_address_books(end: str) -> None:
    assert read(CARDS.replace("\n", end)) == (
        ["number", "name"],
        [
            (4, ["0812-3456-7890", "Ayu"]),
            (10, ["+62 812-3456-7891", "Budi, Jakarta"]),
            (12, ["+62 21 5550 100", "Budi, Jakarta"]),
            (17, ["+62-812-3456-7892", ""]),
            (18, ["+6281234567893", ""]),
        ],
    )


def test_an_address_book_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"line 15: this card has no END:VCARD"):
        read(CARDS.removesuffix("END:VCARD\n"))


def test_numbers_outside_of_cards_are_rejects_and_none_counts_twice() -> None:
    text = (
        'BEGIN:VCARD\nTEL:081234567890\nTEL;X="y:081234567891\nTEL 081234567892\nEND:VCARD\nEND:VCARD\n'
        "TEL:081234567893\n"
    )
    with open_table(io.BytesIO(text.encode())) as table:
        batch = next(table.batches)
    assert batch.readable().rows.column(0).to_pylist() == ["081234567890"]
    assert [reject.line for reject in batch.rejects] == [3, 4, 7]


TWICE = '{"number": "0812", "number": "0813"}'


@pytest.mark.parametrize("text", [f'{TWICE}\n{{"number": "0814"}}', f'[{TWICE}, {{"number": "0814"}}]'])
def test_an_object_with_a_name_twice_is_a_reject(text: str) -> None:
    with open_table(io.BytesIO(text.encode())) as table:
        batch = next(table.batches)
    assert batch.readable().rows.column(0).to_pylist() == ["0814"]
    assert [(reject.line, reject.reason) for reject in batch.rejects] == [(1, "an object that has a name twice")]


def test_a_document_with_a_key_twice_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="has a key twice"):
        read('{"+6281234567890": "fraud",\n"+6281234567890": "spam"}')


def test_a_local_number_keeps_its_context() -> None:
    card = "BEGIN:VCARD\nVERSION:4.0\nTEL;VALUE=uri:tel:30123456;phone-context=+49\nEND:VCARD\n"
    ((_, (number, _)),) = read(card)[1]
    assert normalize(number, region="ID") == 4930123456


@pytest.mark.parametrize(
    ("head", "part", "end"), [("PHOTO:", " " + "x" * 74, ""), ("NOTE;QUOTED-PRINTABLE:", "x" * 74 + "=", "x")]
)
def test_a_folded_property_of_many_lines_is_read_at_once(head: str, part: str, end: str) -> None:
    lines = 400_000
    text = f"BEGIN:VCARD\n{head}=\n" if end else f"BEGIN:VCARD\n{head}\n"
    text += f"{part}\n" * lines + f"{end}\nTEL:081234567890\nEND:VCARD\n"
    assert read(text)[1] == [(lines + 4, ["081234567890", ""])]


def zipped(member: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(member, "x")
    return out.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)

FOREIGN = {
    "ZIP": (zipped("list.csv"), "a ZIP archive: unpack it"),
    "Word": (zipped("word/document.xml"), "a text document"),
    "old Word": (OLE + "WordDocument".encode("utf-16-le"), "an old Word file"),
    "locked": (OLE + "EncryptedPackage".encode("utf-16-le"), "locked by a password"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "xz": (lzma.compress(b"number\n"), "an xz archive: unpack it"),
    "bzip2": (bz2.compress(b"number\n"), "a bzip2 archive: unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "a Zstandard archive: unpack it"),
    "RAR": (b"Rar!\x1a\x07\x01\x00", "a RAR archive: unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7-Zip archive: unpack it"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG picture"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(9), "a JPEG picture"),
    "HTML": (b"\n<!DOCTYPE html><html><table>0812", "an HTML page"),
    "XML": (b"<?xml version='1.0'?><x/>", "an XML document"),
    "binary": (b"\x7fELF\x02\x01\x01\x00", "a binary file"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_a_table_is_named_by_its_true_type(kind: str) -> None:
    data, words = FOREIGN[kind]
    with pytest.raises(InvalidInput, match=words) as caught:
        read(data)
    assert str(caught.value).isprintable()


def test_a_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE numbers (number TEXT)")
    connection.close()
    with pytest.raises(InvalidInput, match="an SQLite database: export the table"):
        read(path)


def test_a_spreadsheet_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocklist_sdk.tables.kinds._UNPACKED_BYTES_MAX", 0)
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        read(zipped("xl/workbook.xml"))
