"""Protected numbers: set, added, removed; from texts and files; proposed in one place and signed in another."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import InvalidInput, InvalidNumber, Malformed, Publisher, Refused
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
        (b"0812-3456-70 # # call centre\n", "line 1: the first # may be a digit or begin a comment"),
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
        b'{"format": true, "add": [], "remove": []}',
        b'{"format": 1, "made_on": 1, "add": [], "remove": []}',
        b'{"format": 1, "add": ' + b"[" * 100_000,
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


@pytest.mark.parametrize(
    "text", ["+62 812 3456 70 # #", "+62 812 3456 70## ", "+62 812 3456 70 ## # ours", "0812 3456 7 # # # "]
)
def test_wildcards_may_have_spaces(publisher: Publisher, tmp_path: Path, text: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{text}\n")
    assert publisher.protect(file) == 10 ** text.replace(" # ours", "").count("#")
    assert 6281234567099 in publisher.protected()


def test_an_empty_list_needs_a_word(publisher: Publisher, tmp_path: Path) -> None:
    publisher.protect(["0812-3456-70##"])
    file = tmp_path / "empty.txt"
    file.write_text("# nothing\n")
    sources: tuple[list[str] | Path | io.BytesIO, ...] = ([], file, io.BytesIO())
    for source in sources:
        with pytest.raises(InvalidInput, match=r"no number in it.*allow_empty"):
            publisher.protect(source)
    for act in (publisher.protect_more, publisher.unprotect):
        with pytest.raises(InvalidInput, match=r"no number in .*empty\.txt, so nothing was changed"):
            act(file)
    assert len(publisher.protected()) == 100
    assert publisher.protect([], allow_empty=True) == 0


def test_a_list_that_drops_many_numbers_needs_a_word(publisher: Publisher) -> None:
    publisher.protect(["0812-3456-70##", "0812-3456-71##", "0812-3456-72##"])
    for keep in (["0812-3456-7000"], ["0812-3456-70##", "0812-3456-71##", "0812-3456-72[0-5]#", "0812-3456-726[0-8]"]):
        with pytest.raises(
            Refused, match=r"of 300 numbers would be protected no longer, and 30 may .*--accept"
        ) as error:
            publisher.protect(keep)
        assert len(error.value.reasons) == 1
    assert len(publisher.protected()) == 300
    assert publisher.protect(["0812-3456-70##", "0812-3456-71##", "0812-3456-72[0-6]#"]) == 270
    assert publisher.protect(["0812-3456-7000"], accept=True) == 1
    publisher.protect(["0812-3456-700#", "0812-3456-701#"])
    assert publisher.protect(["0812-3456-9999"]) == 1  # twenty may always go
    publisher.protect(["0812-3456-7###"])
    assert publisher.unprotect(["0812-3456-7###"]).protected == 0  # each of them was named


def test_a_proposal_is_for_the_list_that_it_was_made_on(publisher: Publisher, tmp_path: Path) -> None:
    publisher.protect(["0812-3456-7001"])
    banks = publisher.plan_protection(add=["0812-3456-7002"])
    only = publisher.plan_protection(only=["0812-3456-7003"])
    publisher.change_protection(banks)
    assert publisher.change_protection(banks).added == ()  # what is so already stays so
    change = ProtectionChange.from_json(only.to_json())
    assert publisher.preview_protection(change).refusals
    with pytest.raises(Refused, match="made on another list of protected numbers"):
        publisher.change_protection(change)
    assert publisher.protected() == {FIRST, SECOND}
    assert publisher.change_protection(change, accept=True).protected == 2
    assert publisher.protected() == {SECOND, THIRD}
    other = Publisher.init(tmp_path / "q", feeds=["id-all"], passphrase=PASSPHRASE, region="ID")
    with pytest.raises(Refused, match="for another folder"):
        other.change_protection(banks)
    old = ProtectionChange.from_json(b'{"format": 1, "add": [6281234567001], "remove": []}')
    assert other.change_protection(old).protected == 1


def test_two_runs_at_once_set_one_list_or_the_other(publisher: Publisher) -> None:
    lists = [["0812-3456-7001"], ["0812-3456-7002"]]
    again = partial(Publisher.open, publisher.directory, passphrase=PASSPHRASE)
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            list(pool.map(lambda numbers: again().protect(numbers), lists))
            assert publisher.protected() in ({FIRST}, {SECOND})


def test_a_preview_says_what_the_change_does(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("id-all", ["+6281234567001"])
    change = publisher.plan_protection(add=["0812-3456-7001"])
    (publisher.directory / "keys" / "targets.pem").rename(tmp_path / "targets.pem")
    preview = publisher.preview_protection(change)
    assert (preview.protected, preview.added, preview.listed) == (1, (FIRST,), {"id-all": (FIRST,)})
    assert publisher.protected() == frozenset()
    (tmp_path / "targets.pem").rename(publisher.directory / "keys" / "targets.pem")
    assert publisher.change_protection(change) == preview
    many = ProtectionChange(add=tuple(range(628120000000, 628120400000)))
    for act in (publisher.preview_protection, publisher.change_protection):
        with pytest.raises(InvalidInput, match="recipients read"):
            act(many)


def test_a_proposal_is_advised_only_where_the_targets_key_is_elsewhere(publisher: Publisher) -> None:
    wrong = Publisher.open(publisher.directory, passphrase="another for a test")
    with pytest.raises(InvalidInput, match=r"from your backup\.?$"):
        wrong.protect_more(["0812-3456-7003"])
    (publisher.directory / "keys" / "targets.pem").unlink()
    with pytest.raises(InvalidInput, match=r"[^.]\. If the targets key is elsewhere, write a proposal"):
        wrong.protect_more(["0812-3456-7003"])
