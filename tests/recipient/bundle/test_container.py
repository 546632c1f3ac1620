"""The file of a bundle is a tar archive in one form: every other file is refused, whichever byte differs."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from blocklist_sdk import Untrusted
from blocklist_sdk.recipient.bundle.container import Member, check_sums, header, members_of
from support.bundles import write_archive

MEMBERS = {"a.json": b"{}\n", "rows/number": bytes(range(256)) * 3, "rows/none": b""}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "archive", MEMBERS)


def check(data: bytes | bytearray) -> None:
    view = memoryview(data)
    check_sums(view, members_of(view))


def test_tar_reads_it_and_sha256sum_checks_it(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [*MEMBERS, "SHA256SUMS"]
        for name, data in MEMBERS.items():
            file = tar.extractfile(name)
            assert file is not None
            assert file.read() == data
        tar.extractall(tmp_path, filter="data")
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b""), done


def test_every_other_byte_is_found(archive: Path) -> None:
    """In headers, contents, hashes, what fills blocks up, and the end."""
    data = bytearray(archive.read_bytes())
    check(data)
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(Untrusted):
            check(data)
        data[at] ^= 1 << at % 8


def test_every_other_length_is_found(archive: Path) -> None:
    data = archive.read_bytes()
    for length in {*range(0, len(data), 97), *range(0, len(data), 512), len(data) - 1} - {len(data)}:
        with pytest.raises(Untrusted):
            check(data[:length])
    for more in (b"\0", bytes(512), bytes(8192), data):
        with pytest.raises(Untrusted, match=r"must end|not as it was"):
            check(data + more)


def test_another_form_of_the_same_archive_is_refused(archive: Path) -> None:
    """Such as what tar itself makes of the same files."""
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        written = io.BytesIO()
        with tarfile.open(archive) as tar, tarfile.open(fileobj=written, mode="w", format=kind) as other:
            for each in tar.getmembers():
                each.mtime = 5
                other.addfile(each, tar.extractfile(each))
        with pytest.raises(Untrusted):
            check(written.getvalue())


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../b", "a//b", ".hidden", "a b", "a\n", "é", ""])
def test_no_member_is_called_so(name: str) -> None:
    with pytest.raises((Untrusted, UnicodeError)):
        members_of(memoryview(header(name, 0) + bytes(1024)))


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.raises(Untrusted):
        members_of(memoryview(2 * header("a", 0) + bytes(1024)))


def test_long_members_have_headers_that_tar_reads() -> None:
    for length in (8**11 - 1, 8**11, 3 * 8**11):
        found = tarfile.TarInfo.frombuf(header("answers/cells", length), "ascii", "strict")
        assert (found.name, found.size) == ("answers/cells", length)
        with pytest.raises(Untrusted, match="cut off"):
            members_of(memoryview(header("answers/cells", length) + bytes(1024)))
    assert Member("a", 512, 8**11 + 1).end == 8**11 + 1024
