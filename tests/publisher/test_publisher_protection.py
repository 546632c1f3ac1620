"""Protected numbers: set, added, removed; from texts and files; proposed in one place and signed in another."""

import io
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import InvalidInput, InvalidNumber, Malformed, Publisher
from blocklist_sdk.publisher import ProtectionChange
from blocklist_sdk.publisher.protection import listed_among, protected_document, runs
from blocklist_sdk.publisher.signed_feed import SignedFeed

PASSPHRASE = "generated for a test"
FIRST, SECOND, THIRD = 6281234567001, 6281234567002, 6281234567003


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase=PASSPHRASE, region="ID")


def test_numbers_are_added_and_removed_one_by_one(publisher: Publisher) -> None:
    publisher.protect(["0812-3456-7001"])
    result = publisher.protect_more(["0812-3456-7002", "+6281234567001"])
    assert (result.protected, result.added, result.removed) == (2, (SECOND,), ())
    result = publisher.unprotect(["0812-3456-7001"])
    assert (result.protected, result.added, result.removed) == (1, (), (FIRST,))
    assert publisher.protected() == {SECOND}


def test_ranges_and_patterns_are_every_number_in_them(publisher: Publisher) -> None:
    assert publisher.protect(["+62 21 1500-0000 - +62 21 1500-0999", "0812-3456-70##"]) == 1100
    assert {622115000000, 622115000999, 6281234567000, 6281234567099} <= publisher.protected()
    assert publisher.unprotect(["0812-3456-7###"]).protected == 1000


def test_a_pattern_of_ten_thousand_numbers_is_the_largest(publisher: Publisher) -> None:
    assert publisher.protect(["0812-3456-####"]) == 10_000
    with pytest.raises(InvalidNumber, match=r"stands for 100,000 numbers, .* 10,000 at most"):
        publisher.protect_more(["0812-345#-####"])


def test_more_than_recipients_read_is_refused(publisher: Publisher) -> None:
    with pytest.raises(InvalidInput, match="recipients read 4,194,304 at most"):
        protected_document(range(628120000000, 628120300000))


def test_what_changes_nothing_is_not_signed(publisher: Publisher) -> None:
    publisher.protect(["0812-3456-7001"])
    before = publisher.status().roles
    result = publisher.protect_more(["0812-3456-7001"])
    assert (result.protected, result.added) == (1, ())
    assert publisher.status().roles == before


def test_what_is_not_protected_cannot_be_removed(publisher: Publisher, tmp_path: Path) -> None:
    publisher.protect(["0812-3456-7001"])
    with pytest.raises(InvalidInput, match="is not protected"):
        publisher.unprotect(["0812-3456-7001", "0812-3456-7002"])
    file = tmp_path / "gone.txt"
    file.write_text("0812-3456-7001\n0812-3456-7002\n")
    with pytest.raises(InvalidInput, match=r"gone\.txt, line 2: .* is not protected"):
        publisher.unprotect(file)
    assert publisher.protected() == {FIRST}


@pytest.mark.parametrize("code", ["110", "112", "14000", "1500888"])
def test_a_short_code_needs_no_protection(publisher: Publisher, tmp_path: Path, code: str) -> None:
    words = "a short code, which no feed can list, since it is not an E.164 number: leave it out"
    with pytest.raises(InvalidNumber, match=words):
        publisher.protect([code])
    file = tmp_path / "list.txt"
    file.write_text(f"# emergency lines\n0812-3456-7001\n{code}\n")
    with pytest.raises(InvalidInput, match=rf"list\.txt, line 3: '{code}' is {words}"):
        publisher.protect(file)
    assert publisher.protected() == frozenset()


def test_a_file_may_have_a_header_comments_and_blank_lines(publisher: Publisher, tmp_path: Path) -> None:
    text = "\ufeffnomor\n\n# banks\n0812-3456-7001 # a bank's call centre\n  0812-3456-70##\n"
    file = tmp_path / "list.txt"
    file.write_text(text, encoding="utf-8")
    assert publisher.protect(file) == 100
    assert publisher.protect(io.BytesIO(text.encode())) == 100


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"number\n0812-3456-7001\nGoPay\n", "line 3: .* it contains letters"),
        (b"number\nname\n", "line 2: .* it contains letters"),
        (b"0812-345#-####\n", "line 1: .* stands for 100,000 numbers"),
        (b"021-110\n", "line 1: .* too short: digits are missing, such as an area code"),
        (b"\xff\xfe", ".*empty"),
        (b"%PDF-1.7\n\xff", ".*PDF document"),
    ],
)
def test_a_line_that_cannot_be_protected_is_named(
    publisher: Publisher, tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"list\.txt.*{words}"):
        publisher.protect(file)
    with pytest.raises(InvalidInput, match=rf"standard input.*{words}"):
        publisher.protect(io.BytesIO(content))


def test_numbers_that_a_feed_lists_are_named(publisher: Publisher) -> None:
    publisher.release("id-all", pa.table({"number": ["+6281234567001", "+628123456710#"]}))
    result = publisher.protect_more(["0812-3456-7001", "0812-3456-7002", "0812-3456-7105"])
    assert result.listed == {"id-all": (FIRST, 6281234567105)}
    assert publisher.unprotect(["0812-3456-7001"]).listed == {"id-all": (FIRST,)}
    assert publisher.release("id-all", pa.table({"number": ["+6281234567001", "+6281234567002"]}), max_rejects=1).rows
    assert publisher.unprotect(["0812-3456-7002"]).listed == {}


def test_listed_among_single_numbers_and_ranges(publisher: Publisher) -> None:
    publisher.release("id-all", pa.table({"number": ["+6281234567001", "+62812345671##"]}))
    rows = SignedFeed.find(publisher._folder.load(), "id-all").rows()
    asked = [FIRST, SECOND, 6281234567100, 6281234567199, 6281234567200]
    assert listed_among(rows, asked) == (FIRST, 6281234567100, 6281234567199)
    assert listed_among(rows, []) == ()


def test_a_proposal_is_made_without_the_key_and_applied_with_it(publisher: Publisher, tmp_path: Path) -> None:
    publisher.protect(["0812-3456-7001", "0812-3456-7002"])
    key = publisher.directory / "keys" / "targets.pem"
    key.rename(tmp_path / "targets.pem")
    away = Publisher.open(publisher.directory, passphrase=PASSPHRASE)
    with pytest.raises(InvalidInput, match=r"put back targets\.pem.*--propose FILE"):
        away.protect_more(["0812-3456-7003"])
    proposal = away.plan_protection(only=["0812-3456-7002", "0812-3456-7003"]).to_json()
    (tmp_path / "targets.pem").rename(key)
    online = publisher.directory / "keys" / "online.pem"
    online.rename(tmp_path / "online.pem")
    with pytest.raises(InvalidInput, match=r"put back online\.pem$"):  # proposing would not help
        Publisher.open(publisher.directory, passphrase=PASSPHRASE).protect_more(["0812-3456-7003"])
    (tmp_path / "online.pem").rename(online)
    change = ProtectionChange.from_json(proposal)
    assert change == ProtectionChange(add=(THIRD,), remove=(FIRST,))
    at_hand = Publisher.open(publisher.directory, passphrase=PASSPHRASE)
    assert at_hand.change_protection(change).protected == 2
    assert at_hand.protected() == {SECOND, THIRD}
    again = at_hand.change_protection(change)
    assert (again.added, again.removed) == ((), ())


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "add": ["1"], "remove": []}',
        b'{"format": 1, "add": [112], "remove": []}',
        b'{"format": 1, "add": 7, "remove": []}',
    ],
)
def test_what_is_not_a_proposal_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed, match="not a proposal"):
        ProtectionChange.from_json(document)


def test_a_proposal_of_a_newer_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="upgrade"):
        ProtectionChange.from_json(b'{"format": 2, "add": [], "remove": []}')


def test_runs_of_numbers() -> None:
    assert list(runs([])) == []
    assert list(runs([5, 1, 2, 3, 9])) == [(1, 3), (5, 5), (9, 9)]
