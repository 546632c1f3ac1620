"""How much memory and disk this process may still take, as far as its system says, and what to raise without."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import Malformed, StorageFailed

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")

_FILES: Final = frozenset({"inactive_file", "active_file", "slab_reclaimable"})
"""What a system gives up before it kills: also the pages of the list in force, perhaps a large part of a container."""

_UNLIMITED: Final = 1 << 60
"""The first version of cgroups says about 2^63 where there is no limit."""


def free_disk(directory: Path) -> int:
    """The bytes that may still be written to the disk of a directory, or of the nearest one above that exists.

    Raises:
        StorageFailed: the disk does not say.
    """
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    with storage(directory):
        return shutil.disk_usage(directory).free


def free_memory(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """The bytes of memory that this process may still take; None if the system does not say.

    It is the least of what the machine has available, what the process's control groups leave (both versions), and what
    its own limits leave (`ulimit -v` and `ulimit -d`).

    Args:
        proc: where the kernel says what there is, and what this process has.
        cgroups: where it says what control groups may take.
    """
    found = [
        *_of_machine(proc),
        *_of_groups(proc, cgroups),
        *_of_process(proc),
    ]
    return max(0, min(found)) if found else None


@contextlib.contextmanager
def within_memory(feed: str, directory: Path) -> Iterator[None]:
    """Turn what the lack of memory raises in a sync, and what the values of a release may, into errors of ours.

    Args:
        feed: the feed's name.
        directory: where its releases are built.

    Raises:
        StorageFailed: memory does not suffice.
        Malformed: Arrow or Python cannot hold a value, or so many.
    """
    try:
        yield
    except MemoryError as error:
        # Also those of Arrow and numpy, which are subclasses.
        raise _too_little_memory(feed, directory) from error
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise _too_little_memory(feed, directory) from error
    except (OverflowError, pa.ArrowException) as error:
        raise Malformed(
            f"a release of feed {feed!r} cannot be built ({type(error).__name__}). The list in force is unchanged. "
            "Tell the publisher."
        ) from error


def _too_little_memory(feed: str, directory: Path) -> StorageFailed:
    return StorageFailed(
        f"memory did not suffice to sync feed {feed!r}. The list in force is unchanged. Give this process more memory, "
        "or let a process of its own sync: blocklist sync --watch.",
        path=directory,
    )


def _of_machine(proc: Path) -> Iterator[int]:
    available = _kilobytes(proc / "meminfo", "MemAvailable")
    if available is not None:
        yield available
        return
    try:
        yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return  # not every system says


def _of_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What the control groups leave; files that they would give up first do not count as used."""
    for line in (_text(proc / "self" / "cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            yield from _up(cgroups, path, "memory.max", "memory.current", _FILES)
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            files = frozenset(f"total_{name}" for name in _FILES)
            yield from _up(cgroups / "memory", path, *names, files)


def _up(root: Path, path: str, limit_name: str, usage_name: str, file_names: frozenset[str]) -> Iterator[int]:
    """What a control group and those above it leave. In a container only the root may be there to see."""
    folder = root / path.lstrip("/")
    for each in dict.fromkeys((folder, *folder.parents, root)):
        if not each.is_relative_to(root):
            continue
        limit, used = _integer(each / limit_name), _integer(each / usage_name)
        if limit is None or used is None or limit >= _UNLIMITED:
            continue
        files = 0
        for line in (_text(each / "memory.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name in file_names and value.isdecimal():
                files += int(value)
        yield limit - max(0, used - files)


def _of_process(proc: Path) -> Iterator[int]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for limit, used_name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(limit)
        used = _kilobytes(proc / "self" / "status", used_name)
        if most != resource.RLIM_INFINITY and used is not None:
            yield most - used


def _kilobytes(path: Path, name: str) -> int | None:
    """The bytes that a line such as `MemAvailable:  123 kB` says."""
    for line in (_text(path) or "").splitlines():
        head, _, value = line.partition(":")
        if head == name and value.split()[:1] and value.split()[0].isdecimal():
            return int(value.split()[0]) * 1024
    return None


def _integer(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
