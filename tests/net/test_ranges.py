"""Which bytes of a file a request asks for; the servers' own tests ask over HTTP."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.net.ranges import FileVersion
from blocklist_sdk.net.static_files import cache_control, find_file

ETAG, MODIFIED = '"1-64"', "Thu, 13 Aug 2026 15:36:13 GMT"


def version(size: int) -> FileVersion:
    return FileVersion(size=size, etag=ETAG, modified=MODIFIED)


@given(size=st.integers(0, 50), first=st.integers(0, 60) | st.none(), last=st.integers(0, 60) | st.none())
def test_the_range_is_every_byte_that_is_asked_for_and_no_other(size: int, first: int | None, last: int | None) -> None:
    written = "".join(("bytes=", "" if first is None else str(first), "-", "" if last is None else str(last)))
    found = version(size).requested_range({"Range": written})
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        assert found is None
    else:
        assert found is not None
        start, end = (size - (last or 0), size) if first is None else (first, size if last is None else last + 1)
        assert list(found) == [byte for byte in range(size) if start <= byte < end]


@pytest.mark.parametrize(
    "asked", ["", "bytes", "lines=1-2", "bytes=x-", "bytes=0-1,3-4", "bytes=" + "9" * 5000 + "-", "bytes=\u0661-"]
)
def test_anything_but_one_range_of_bytes_is_ignored(asked: str) -> None:
    assert version(100).requested_range({"Range": asked}) is None


@pytest.mark.parametrize("asked", ["bytes=5-9", "BYTES=5-9", " bytes= 5 - 9 "])
def test_case_and_blanks_do_not_matter(asked: str) -> None:
    assert version(100).requested_range({"Range": asked}) == range(5, 10)


@pytest.mark.parametrize(("validator", "part"), [(ETAG, range(5, 100)), (MODIFIED, range(5, 100)), ('W/"1-64"', None)])
def test_a_range_is_for_one_version_of_a_file(validator: str, part: range | None) -> None:
    assert version(100).requested_range({"Range": "bytes=5-", "If-Range": validator}) == part


def test_each_version_of_a_file_has_validators_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = FileVersion.of(file.stat())
    assert before.is_known({"If-None-Match": before.etag})
    file.write_bytes(b"longer")
    after = FileVersion.of(file.stat())
    assert (before.size, after.size) == (3, 6)
    assert not after.is_known({"If-None-Match": before.etag})
    assert not after.is_known({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").write_bytes(b"in")
    (folder / "in" / ".hidden").write_bytes(b"hidden")
    (tmp_path / "outside").write_bytes(b"outside")
    (folder / "leads-out").symlink_to(tmp_path / "outside")
    (folder / "leads-in").symlink_to(folder / "in" / "file")
    return folder


@pytest.mark.parametrize("path", ["in/file", "leads-in"])
def test_a_file_below_the_folder_is_found(folder: Path, path: str) -> None:
    found = find_file(folder, path.split("/"))
    assert found is not None
    assert (found[0], found[1].st_size) == (folder / path, 2)


@pytest.mark.parametrize(
    "path",
    ["", "in", "in/", "/in/file", "in//file", "in/./file", "../outside", "in/../../outside", "in/.hidden", "leads-out",
     "in/nothing", "in/file/more", "in/a\0", "x" * 5000],
)  # fmt: skip
def test_no_path_leads_elsewhere(folder: Path, path: str) -> None:
    assert find_file(folder, path.split("/")) is None
    assert find_file(folder, [path]) is None


def test_only_the_timestamp_changes_under_its_name() -> None:
    assert cache_control("timestamp.json", kept_by="public") == "no-cache"
    assert cache_control("3.root.json", kept_by="private") == "private, max-age=31536000, immutable"
