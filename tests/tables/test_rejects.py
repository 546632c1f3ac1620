"""The file that lists rows that cannot be used."""

import csv
from pathlib import Path

from blocklist_sdk.tables.rejects import Reject, write_rejects


def test_a_terminal_does_not_obey_what_a_stranger_wrote(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    write_rejects([Reject(3, "not \x1b[31mread", "\x1b]0;title\x07\x1b[2J0812\n3456 é")], path)
    text = path.read_text(encoding="utf-8")
    assert not any(character in text for character in "\x1b\x07")
    assert list(csv.reader(text.splitlines()))[1] == [
        "3",
        "not \ufffd[31mread",
        "\ufffd]0;title\ufffd\ufffd[2J0812 3456 é",
    ]
