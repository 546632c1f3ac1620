"""The demonstration: every step is real, and one that goes wrong is named."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from blocklist_sdk import normalize, operator_of
from blocklist_sdk.demo import loop
from blocklist_sdk.demo.generated import generate_numbers, write_generated
from blocklist_sdk.demo.lists import make_lists
from support.command_line import assert_fails, run

STEPS = [
    "read the list",
    "make keys",
    "publish release 1",
    "serve, pin the root",
    "first sync",
    "check numbers",
    "publish release 2",
    "delta sync",
    "check what changed",
    "publish release 3",
    "attack: release file tampered",
    "true file restored",
    "attack: old timestamp replayed",
    "true timestamp restored",
]


def test_the_demo_in_json() -> None:
    ran = run("demo", "--rows", "2000", "--json")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert document["ok"] is True
    assert document["generated"] is True
    assert [step["name"] for step in document["steps"]] == STEPS
    assert all(step["ok"] and step["seconds"] >= 0 for step in document["steps"])
    steps = {step["name"]: step for step in document["steps"]}
    assert "delta verified: 20 added, 20 removed" in steps["delta sync"]["outcome"]
    assert steps["first sync"]["bytes"] > steps["delta sync"]["bytes"] > 0
    answers = {sample["what"]: sample["answer"] for sample in steps["check what changed"]["samples"]}
    assert answers == {"removed": "free", "added": "blocked", "listed": "blocked"}
    for attack in STEPS[10], STEPS[12]:
        assert steps[attack]["outcome"].startswith("refused as untrusted")
        assert steps[attack]["samples"]


def test_the_demo_tells_a_story() -> None:
    ran = run("demo", "--rows", "300")
    assert (ran.code, ran.err) == (0, "")
    assert "with generated numbers." in ran.out
    for step in STEPS:
        assert f"✓ {step}: " in ran.out
    assert f"All {len(STEPS)} steps had the expected result" in ran.out
    assert "\x1b" not in ran.out


def test_the_demo_needs_no_exchange_server() -> None:
    """It is an extra."""
    program = "import sys, blocklist_sdk.demo.loop, blocklist_sdk.sandbox; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "blocklist_sdk.exchange.client" in loaded
    assert not [name for name in loaded if name.startswith("blocklist_sdk.exchange_server") or name == "sqlalchemy"]


def test_the_same_numbers_every_time(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.csv", "two.csv")]
    for path in paths:
        write_generated(path, 300)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    first, second = (make_lists(path, column=None, region="ID") for path in paths)
    for name in ("listed", "late", "dropped", "unlisted", "numbers"):
        assert getattr(first, name) == getattr(second, name)


def test_generated_numbers_are_numbers_of_operators() -> None:
    numbers = generate_numbers(1000).tolist()
    assert len(set(numbers)) == 1000
    assert all(normalize(f"+{number}", strict=True) == number for number in numbers)
    assert {operator_of(number) for number in numbers} == {"telkomsel", "indosat", "xlsmart"}


@pytest.mark.parametrize("rows", ["3", "10"])
def test_a_very_short_list_will_do(rows: str) -> None:
    assert run("demo", "--rows", rows, "--json").document["ok"] is True


def test_a_user_can_continue_with_the_folder_that_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    ran = run("demo", "--rows", "300", "--dir", directory)
    assert ran.code == 0
    assert str(directory / "blocklist.toml") in ran.err
    assert stat.S_IMODE((directory / "passphrase").stat().st_mode) == 0o600
    status = run("status", "--json", "--config", directory / "blocklist.toml").document
    assert (status["serial"], status["rows"]) == (3, 300)
    assert run("sync", "--config", directory / "blocklist.toml").code == 0
    refreshed = run("publish", "refresh", directory / "authority", "--passphrase-file", directory / "passphrase")
    assert refreshed.code == 0


def test_the_real_list_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    """Gzip, CRLF, header, duplicates, short rows; no number of it is shown whole."""
    source = shared_data / "ftc" / "ftc-2025-11-14.csv.gz"
    ran = run("demo", "--from", source, "--region", "US", "--dir", tmp_path / "demo", "--json")
    assert ran.code == 0
    steps = {step["name"]: step for step in ran.document["steps"]}
    assert ran.document["generated"] is False
    assert list(steps) == STEPS
    assert "rejected rows: " in steps["publish release 3"]["outcome"]
    shown = {sample["text"] for step in steps.values() for sample in step["samples"]}
    assert all("…" in text for text in shown - {"GoPay"})
    (rejects,) = (tmp_path / "demo" / "authority" / "rejects").glob("*.3.csv")
    assert len(rejects.read_text().splitlines()) > 1000
    (outcome,) = (step["outcome"] for step in steps.values() if step["name"] == "publish release 3")
    published = int(outcome.split(" ")[0].replace(",", ""))
    assert 200_000 < published < 213_243


SINGLES = [f"+4420794600{i:02d}" for i in range(50)]  # generated


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("number", [*SINGLES, "+44207946####"]),
        ("number,last", [*(f"{number}," for number in SINGLES), "+442079460000,+442079460046"]),
        ("number,since", [f"{number},{'2999-01-01' if i < 47 else ''}" for i, number in enumerate(SINGLES)]),
        ("number,entry", [f"{number},{i}" for i, number in enumerate(SINGLES, 1)]),
        ("number", [*SINGLES, "GoPay", *(f"x{i}" for i in range(200))]),
    ],
    ids=["a range over all", "a range over most", "most are to come", "ids of its own", "mostly rejects"],
)
def test_samples_are_numbers_that_the_list_decides(tmp_path: Path, header: str, rows: list[str]) -> None:
    source = tmp_path / "list.csv"
    source.write_text("\n".join([header, *rows]) + "\n")
    ran = run("demo", "--from", source, "--region", "GB", "--json")
    if rows[-1].endswith("####"):
        assert_fails(ran, 2, "too few numbers to demonstrate with: 0", "in no range")
    else:
        assert ran.document["ok"] is True, ran


def test_a_published_snapshot_is_a_list_as_well(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert run("demo", "--rows", "300", "--dir", kept).code == 0
    (snapshot,) = (kept / "authority" / "repository" / "targets" / "demo").glob("*.3.snapshot.parquet")
    assert run("demo", "--from", snapshot, "--region", "US", "--json").document["ok"] is True


def test_a_list_of_numbers_one_after_the_other(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("".join(f"+62812{i:08d}\n" for i in range(30_000)))
    lists = make_lists(source, column=None, region=None)
    assert lists.unlisted == 6281200030000


def test_more_rows_than_can_be_generated() -> None:
    assert_fails(run("demo", "--rows", "99999999999"), 2, "--rows")


def test_a_list_of_many_columns(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    rows = [f"+4420794600{i:02d},,block,fraud,,2020-01-01" for i in range(50)]
    rows += ["+442079460099,,advisory,spam,,", "+442079461000,+442079461999,block,fraud,,", "GoPay,,,,,"]
    source.write_text("phone,last,level,category,until,since\n" + "\n".join(rows) + "\n")
    ran = run("demo", "--from", source, "--column", "phone", "--json")
    assert ran.code == 0, ran
    assert ran.document["ok"] is True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ("empty",)),
        ("number\n0812-0000-0001\n0812-0000-0002\n", ("three", "--region")),
        ("a,b\nx,y\n", ("a, b",)),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, content: str, words: tuple[str, ...]) -> None:
    source = tmp_path / "list.csv"
    source.write_text(content)
    assert_fails(run("demo", "--from", source, "--json"), 2, *words)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    assert_fails(run("demo", "--from", tmp_path / "nowhere.csv", "--json"), 2, "nowhere.csv")


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert_fails(run("demo", "--dir", tmp_path, "--json"), 2, "not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("broken", "step"),
    [("_flip", "attack: release file tampered"), ("_spellings", "check numbers")],
)
def test_a_step_that_goes_wrong_is_named(monkeypatch: pytest.MonkeyPatch, broken: str, step: str) -> None:
    """Bytes that were not flipped are let through, and a number that is not listed is not blocked."""
    changed = {"_flip": lambda data: data, "_spellings": lambda number, region: ["+6281299999999"]}
    monkeypatch.setattr(loop, broken, changed[broken])
    ran = run("demo", "--rows", "300", "--json")
    assert ran.code == 1
    assert ran.document["ok"] is False
    assert [each["name"] for each in ran.document["steps"] if not each["ok"]] == [step]
    assert ran.document["steps"][-1]["name"] == step
    assert repr(step) in ran.err
    assert "✗" in run("demo", "--rows", "300").out
