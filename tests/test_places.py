"""Homes, the user's directories and the working directory are looked for in one place, which says what is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, StorageFailed, places
from blocklist_sdk.disk import storage_failed
from blocklist_sdk.mirror import mirror
from support.import_plan import MODULES, PACKAGE

_LOOK_UPS = re.compile(
    r"expanduser|expandvars|Path\.home|getcwd|\.cwd\(|platformdirs|getpwuid|import pwd|\.absolute\(|\.resolve\(|"
    r"abspath|realpath|tempfile\.(?:Named)?Temporary|gettempdir"
)


def test_nobody_else_looks_for_places() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), number)
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if _LOOK_UPS.search(line) and ">>>" not in line
    }
    assert {path for path, _ in found} == {"places.py"}, sorted(found)


@pytest.fixture
def without_home(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")

    def nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    return monkeypatch


def test_a_list_without_a_home_says_what_to_name(without_home: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="BLOCKLIST_CACHE_DIR") as raised:
        Blocklist.open("https://lists.example", feed="id-all", root=b"{}")
    for word in ("--cache-dir", "--state-dir", "BLOCKLIST_STATE_DIR", "cache_dir"):
        assert word in str(raised.value)


def test_what_the_environment_names_needs_no_home(without_home: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_home.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert places.user_cache() == tmp_path / "blocklist-sdk"
    with pytest.raises(InvalidInput):
        places.user_state()
    # Only what is not given is looked for.
    Blocklist.open("https://lists.example", feed="id-all", root=b"{}", state_dir=tmp_path).close()


def test_a_failure_in_the_default_directory_names_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    (tmp_path / "file").write_text("")  # not even root can make a directory under it
    with Blocklist.open("file:///nowhere", feed="id-all", root=b"", cache_dir=None) as blocklist:
        with pytest.raises(StorageFailed) as raised:
            blocklist.overrides.allow("+6281200000001", reason="a friend")
        assert "--cache-dir" in str(raised.value)
        assert "BLOCKLIST_STATE_DIR" in str(raised.value)
    assert "BLOCKLIST" not in str(storage_failed(OSError(28, "No space left on device"), tmp_path / "elsewhere"))


def test_homes_of_users(without_home: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InvalidInput, match=r"the key is '~nosuchuser/key.pem', but the user 'nosuchuser' does not exist"
    ):
        places.expanded("~nosuchuser/key.pem", what="the key")
    with pytest.raises(InvalidInput, match=r"the key is '~/key.pem', but this user has no home directory"):
        places.expanded("~/key.pem", what="the key")
    without_home.setenv("HOME", "/home/somebody")
    assert places.expanded("~/key.pem", what="the key") == Path("/home/somebody/key.pem")
    assert places.expanded("keys/~/key.pem", what="the key") == Path("keys/~/key.pem")


def test_a_deleted_working_directory(tmp_path: Path) -> None:
    """In another process: this one's working directory is the other tests'."""
    script = (
        "import os, sys\n"
        "os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "from blocklist_sdk import Blocklist, InvalidInput, Publisher, places\n"
        "assert places.is_nowhere()\n"
        "Blocklist.open('file:///x', feed='f', root=b'', cache_dir='/nowhere-at-all').close()\n"
        "for call in (lambda: Blocklist.open('file:///x', feed='f', root=b'', cache_dir='cache'),\n"
        "             lambda: Publisher.open('publisher', passphrase='x'), lambda: places.resolved('list.csv')):\n"
        "    try: call()\n"
        "    except InvalidInput as error: assert 'working directory has been deleted' in str(error), error\n"
        "    else: raise SystemExit('it went on')\n"
    )
    (tmp_path / "gone").mkdir()
    subprocess.run([sys.executable, "-P", "-c", script, tmp_path / "gone"], check=True, timeout=60)


def test_no_temporary_directory_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageFailed, match="TMPDIR"):
        places.temporary_file()
    with pytest.raises(StorageFailed, match="TMPDIR"):
        places.named_temporary_file()
    with pytest.raises(StorageFailed, match="TMPDIR"), places.temporary_directory(prefix="x"):
        pass


def test_a_folder_whose_name_is_not_utf8_is_refused_at_once(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(InvalidInput, match="is not UTF-8: rename"):
        Blocklist.open("file:///x", feed="id-all", root=b"", cache_dir=place)
    with pytest.raises(InvalidInput, match="is not UTF-8: rename"):
        Publisher.init(place, feeds=["id-all"], passphrase="correct horse battery")
    assert not place.exists()
    with pytest.raises(InvalidInput, match="is not UTF-8: rename"):
        mirror("file:///x", place, root=b"")
