"""An older copy of the repository is brought back: no entry id and no serial is given out twice."""

import json
import logging
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed, Untrusted
from blocklist_sdk.publisher import Publisher, PublisherGuard, Timing, serving
from blocklist_sdk.release.release_id import ReleaseId
from support.holders import Killed
from support.world import PATIENT, Recipient

FEED = "id-all"
PASSPHRASE = "correct horse battery"


def opened(folder: Path) -> Publisher:
    return Publisher.open(folder, passphrase=PASSPHRASE, guard=PublisherGuard.off())


def texts(*tails: int) -> list[str]:
    return [f"+6281234567{tail:03}" for tail in tails]


def ids(folder: Path) -> dict[int, int]:
    table = opened(folder).entries(FEED)
    return dict(zip(table.column("number").to_pylist(), table.column("entry").to_pylist(), strict=True))


def remembered(folder: Path) -> tuple[int, int, int]:
    known = json.loads((folder / "publisher.json").read_bytes())["published"][FEED]
    return known["era"], known["serial"], known["last_entry"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A publisher at release 4, and `old` with its repository at release 2; entry 3 was seen by recipients, and 4."""
    Publisher.init(tmp_path / "p", feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    publisher = opened(tmp_path / "p")
    publisher.add(FEED, texts(1))
    publisher.add(FEED, texts(2))
    shutil.copytree(publisher.repository, tmp_path / "old")
    publisher.add(FEED, texts(3))
    publisher.add(FEED, texts(4))
    return tmp_path / "p"


def bring_back(folder: Path) -> None:
    shutil.rmtree(folder / "repository")
    shutil.copytree(folder.parent / "old", folder / "repository")


def test_no_id_and_no_serial_is_given_out_twice(folder: Path) -> None:
    said: list[str] = []
    before = ids(folder)
    assert remembered(folder) == (1, 4, 4)
    bring_back(folder)
    result = opened(folder).add(FEED, texts(7), notify=said.append)
    assert (result.serial, result.delta_bytes) == (5, None)
    after = ids(folder)
    assert after[6281234567007] == 5
    assert all(after[number] == before[number] for number in after.keys() & before.keys())
    (line,) = [text for text in said if "older copy" in text]
    assert "has release 2, and release 4 was published" in line
    assert "ids above 4" in line
    assert "refuse lower" in line
    assert f"blocklist publish keys rotate {folder} --role online" in line
    said.clear()
    following = opened(folder).add(FEED, texts(8), notify=said.append)
    assert (following.serial, following.delta_bytes is None, said) == (6, False, [])
    assert opened(folder).status().feeds[0].last_entry == 6


def test_recipients_go_on_after_the_online_key_was_replaced(folder: Path, tmp_path: Path) -> None:
    """What the message says is true: recipients refuse the older copy, and take what follows."""
    with serving(folder / "repository") as url:
        recipient = Recipient.open(
            url,
            feed=FEED,
            root=folder / "root.json",
            region="ID",
            cache_dir=tmp_path / "cache",
            state_dir=tmp_path / "state",
            transport=PATIENT,
            guard=None,
        )
        recipient.sync()
        seen = {entry.entry for tail in range(1, 5) for entry in recipient.entries(texts(tail)[0])}
        bring_back(folder)
        with pytest.raises(Untrusted):
            recipient.sync()
        opened(folder).rotate_keys("online")
        opened(folder).add(FEED, texts(7))
        result = recipient.sync()
        assert (result.after, result.kind) == (5, "snapshot")
        assert recipient.entries(texts(7)[0])[0].entry not in seen


def test_a_copy_from_before_the_first_release(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    Publisher.init(folder, feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    shutil.copytree(folder / "repository", tmp_path / "old")
    opened(folder).add(FEED, texts(1, 2))
    bring_back(folder)
    said: list[str] = []
    assert opened(folder).dry_run(FEED, texts(3), edit="add", notify=said.append).after == 2
    assert opened(folder).add(FEED, texts(3), notify=said.append).serial == 2
    assert ids(folder) == {6281234567003: 3}
    assert all("it has no release, and release 1 was published" in line for line in said)
    assert len(said) == 2


def test_a_folder_that_remembers_nothing_yet_goes_by_the_repository(folder: Path) -> None:
    settings = json.loads((folder / "publisher.json").read_bytes())
    del settings["published"]
    (folder / "publisher.json").write_text(json.dumps(settings))
    said: list[str] = []
    assert opened(folder).add(FEED, texts(5), notify=said.append).serial == 5
    assert (remembered(folder), said) == ((1, 5, 5), [])


def test_an_older_copy_of_the_settings_goes_by_the_repository(folder: Path) -> None:
    settings = json.loads((folder / "publisher.json").read_bytes())
    settings["published"][FEED] = {"era": 1, "serial": 2, "last_entry": 2}
    (folder / "publisher.json").write_text(json.dumps(settings))
    said: list[str] = []
    assert opened(folder).add(FEED, texts(5), notify=said.append).serial == 5
    assert (remembered(folder), said) == ((1, 5, 5), [])


def test_a_run_killed_at_each_step_leaves_out_ids_and_repeats_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step it was, the copy that is brought back after it gives out nothing that anybody saw."""
    seen: dict[int, int] = {entry: number for number, entry in ids(folder).items()}
    rename = os.replace
    number = 100
    for allowed in range(100):
        bring_back(folder)
        number += 1
        left = allowed

        def cut(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            rename(source, target)

        is_killed = False
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                opened(folder).add(FEED, texts(number))
            except Killed:
                is_killed = True
        for found, entry in ids(folder).items():
            assert seen.setdefault(entry, found) == found, f"entry {entry} was given out twice, at step {allowed}"
        if not is_killed:
            assert allowed > 7
            return
    raise AssertionError("the run never came to its end")


def test_keys_and_serials_that_begin_anew_are_remembered_too(folder: Path) -> None:
    bring_back(folder)
    opened(folder).rotate_keys(f"feed.{FEED}")
    assert remembered(folder) == (2, 2, 4)
    said: list[str] = []
    assert opened(folder).add(FEED, texts(5), notify=said.append).serial == 3
    assert ids(folder)[6281234567005] == 5
    assert said == [], "serials of another era are others"
    bring_back(folder)
    with pytest.raises(InvalidInput, match="none of its keys can sign"):
        opened(folder).add(FEED, texts(6), notify=said.append)
    assert "Replace keys again" in said.pop()
    opened(folder).rotate_keys(f"feed.{FEED}")
    assert opened(folder).add(FEED, texts(6), notify=said.append).serial == 4
    assert ids(folder)[6281234567006] == 6
    assert f"release {ReleaseId(2, 3)} was published" in said[0]


def test_refresh_says_it_and_signs_all_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bring_back(folder)
    with caplog.at_level(logging.WARNING):
        assert "timestamp" in opened(folder).refresh().renewed
    assert "older copy" in caplog.text
    caplog.clear()
    (folder / "publisher.json").write_text('{"format": 1, "published": 7}')
    assert "timestamp" in opened(folder).refresh().renewed
    assert "publisher.json is damaged: published must" in caplog.text


@pytest.mark.parametrize(
    "known", [7, [], {}, {"era": 1, "serial": 2}, {"era": True, "serial": 1, "last_entry": 1}, {"era": 1, "serial": -1}]
)
def test_a_damaged_memory_is_said_and_nothing_is_published(folder: Path, known: object) -> None:
    (folder / "publisher.json").write_text(json.dumps({"format": 1, "published": {FEED: known}}))
    with pytest.raises(Malformed, match=r"publisher\.json is damaged: published\.id-all.*Restore"):
        opened(folder).add(FEED, texts(5))
    assert len(ids(folder)) == 4


def test_a_release_that_cannot_be_remembered_is_not_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "publisher.json":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageFailed, match=r"publisher\.json"):
        opened(folder).add(FEED, texts(5))
    assert len(ids(folder)) == 4


def test_serials_that_a_clock_has_dated_ahead_may_begin_anew(folder: Path) -> None:
    """No release of the era may be dated before it, so that recipients refuse each one until that day."""
    ahead = Timing(clock=lambda: times.this_second() + timedelta(days=30))
    Publisher.open(folder, passphrase=PASSPHRASE, timing=ahead).add(FEED, texts(5))
    with pytest.raises(InvalidInput, match="can go on after 5"):
        Publisher.open(folder, passphrase=PASSPHRASE, timing=ahead).rotate_keys(f"feed.{FEED}", restart_serials=True)
    change = opened(folder).rotate_keys(f"feed.{FEED}", restart_serials=True)
    assert (change.era, change.serial) == (2, 1)
    assert remembered(folder) == (2, 1, 5)


def test_a_restart_that_is_killed_at_each_step_is_completed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rename = os.replace
    eras: list[int | None] = []
    for allowed in range(100):
        copy = tmp_path / f"copy-{allowed}"
        shutil.copytree(folder, copy)
        left = allowed

        def cut(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            rename(source, target)

        is_killed = False
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                opened(copy).rotate_keys(f"feed.{FEED}", restart_serials=True, even_if_serials_are_left=True)
            except Killed:
                is_killed = True
        change = opened(copy).rotate_keys(f"feed.{FEED}", restart_serials=True, even_if_serials_are_left=True)
        assert change.serial == 1
        assert remembered(copy) == (change.era, 1, 4)
        eras.append(change.era)
        if not is_killed:
            # The second run replaces the key once more where the first left nothing to complete but files to put away.
            assert eras == [2] * eras.count(2) + [3] * eras.count(3)
            assert eras.count(3) <= 3 < eras.count(2)
            return
    raise AssertionError("the run never came to its end")


def test_ids_that_a_list_gives_itself_are_kept_after_a_run_that_was_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the ids elsewhere publishes the same list again: the id was reserved, and not published."""
    rows = pa.table({"number": texts(1, 2, 3, 4, 9), "entry": [1, 2, 3, 4, 7]})
    rename = os.replace

    def cut(source: Path, target: Path) -> None:
        if Path(target).name == "timestamp.json":
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(Killed):
            opened(folder).release(FEED, rows)
    assert (remembered(folder), opened(folder).status().feeds[0].last_entry) == ((1, 4, 7), 4)
    assert opened(folder).release(FEED, rows).serial == 5
    assert ids(folder)[6281234567009] == 7


def test_a_list_with_the_ids_of_a_recipient_brings_the_newest_list_back(folder: Path) -> None:
    rows = opened(folder).entries(FEED)
    before = ids(folder)
    bring_back(folder)
    status = opened(folder).status().feeds[0]
    assert (status.serial, status.next_serial, status.last_entry) == (2, 5, 4)
    assert opened(folder).release(FEED, rows).serial == 5
    assert ids(folder) == before


def test_a_copy_from_before_keys_were_replaced_says_so_and_can_be_used(folder: Path, tmp_path: Path) -> None:
    """What the message says is true, for recipients that follow the newest root."""
    opened(folder).rotate_keys("online")
    with serving(folder / "repository") as url:
        recipient = Recipient.open(
            url,
            feed=FEED,
            root=(folder / "root.json").read_bytes(),
            region="ID",
            cache_dir=tmp_path / "cache",
            state_dir=tmp_path / "state",
            transport=PATIENT,
            guard=None,
        )
        recipient.sync()
        bring_back(folder)
        for use in (opened(folder).refresh, opened(folder).status, lambda: opened(folder).add(FEED, texts(7))):
            with pytest.raises(Malformed, match=r"root\.json is version 3, and the newest root in .* is version 1"):
                use()
        shutil.copy(folder / "repository" / "metadata" / "1.root.json", folder / "root.json")
        assert opened(folder).rotate_keys("online").root_version == 3
        with pytest.raises(Untrusted):
            recipient.sync()
        assert opened(folder).rotate_keys("online").root_version == 5
        opened(folder).add(FEED, texts(7))
        assert recipient.sync().after == 5
