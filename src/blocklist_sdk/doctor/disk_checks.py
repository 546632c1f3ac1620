"""Checks of this machine's disk: room, who may write, and whether locks work there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blocklist_sdk.disk import staged
from blocklist_sdk.doctor.findings import Finding, fail, ok, skipped, warn
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.errors import BlocklistError, InvalidInput, Locked, StorageFailed
from blocklist_sdk.places import absolute
from blocklist_sdk.recipient.cache.store import Store

_ROOM_MIN: Final = 64 << 20
"""Too little for any list but a small one, bytes."""

_ROOM_FACTOR: Final = 3
"""A sync needs the new generation and what it downloads beside the one in force."""


def disk(patient: Patient) -> Iterator[Finding]:
    """Whether the directories can be written, and have room for another generation."""
    name = "disk"
    try:
        found = patient.directories()
    except InvalidInput as error:
        yield fail(name, error, "set cache_dir in blocklist.toml, or BLOCKLIST_CACHE_DIR")
        return
    if found is None:
        yield skipped(name, "no url or no feed is set")
        return
    for what, path in zip(("cache_dir", "state_dir"), found, strict=True):
        place = _existing(path)
        try:
            # Not by its modes alone: file systems may be read-only, and the superuser may write everywhere else.
            with staged(place):
                room = shutil.disk_usage(place).free
        except OSError as error:
            failed = StorageFailed(f"{path} cannot be written: {error.strerror}", path=path)
            yield fail(name, failed, f"let this user write to {place}, or set {what} to a folder that it may write")
            continue
        needed = max(_ROOM_MIN, _ROOM_FACTOR * _size(found[0]))
        if room < needed:
            failed = StorageFailed(
                f"{path} has {room >> 20:,} MB left, and a sync may need {needed >> 20:,}", path=path
            )
            yield fail(name, failed, f"make room, or set {what} to a folder on a larger disk")
            continue
        yield ok(name, f"{path} ({what}) can be written, {room >> 20:,} MB free")


def lock(patient: Patient) -> Iterator[Finding]:
    """Whether the lock of syncs can be taken."""
    name = "lock"
    found = patient.directories()
    if found is None or not found[0].is_dir():
        yield skipped(name, "nothing was synced here yet")
        return
    if not os.access(found[0] / "lock", os.W_OK) and (found[0] / "lock").exists():
        yield skipped(name, "this user may not sync here, only ask")
        return
    try:
        with Store(found[0]).lock(0):
            pass
    except Locked:
        yield warn(name, "another process syncs at this moment", "wait; if it lasts for hours, look for that process")
    except InvalidInput as error:
        yield fail(name, error, "set cache_dir to a folder that only this user, or the administrator, has made")
    except BlocklistError as error:
        yield fail(name, error, "set cache_dir to a folder on a local disk, whose file system has locks")
    else:
        yield ok(name, "it can be taken")


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest above it that exists, in which it would be made."""
    return next(each for each in (path, *absolute(path).parents) if each.exists())


def _size(directory: Path) -> int:
    generations = directory / "generations"
    try:
        sizes = [sum(file.stat().st_size for file in each.iterdir()) for each in generations.iterdir()]
    except OSError:
        return 0
    return max(sizes, default=0)
