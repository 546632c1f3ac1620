"""A disk that is full: at a chosen moment, or from then on."""

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

REAL_OPEN: Callable[..., Any] = io.open


class FullDisk:
    """Counts writes that need room on the disk, and refuses the n-th: only that one, or all from there on."""

    def __init__(self, refuse_at: int, *, once: bool) -> None:
        self.refuse_at = refuse_at
        self.once = once
        self.count = 0

    @property
    def has_refused(self) -> bool:
        return self.count >= self.refuse_at

    def spend(self) -> None:
        self.count += 1
        if self.count == self.refuse_at or (self.has_refused and not self.once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def guard(self, real: Callable[..., Any], needs_room: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            if needs_room(*arguments):
                self.spend()
            return real(*arguments, **named)

        return guarded

    def open(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, *rest: Any, **named: Any
    ) -> Any:
        """As `open`, but every write that reaches the disk is counted."""
        if not set(mode) & set("wxa+"):
            return REAL_OPEN(file, mode, buffering, encoding, *rest, **named)
        disk = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> Any:
                disk.spend()
                return super().write(data)

        self.spend()
        raw = Raw(file, mode.replace("b", "").replace("t", ""), opener=named.get("opener"))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding=encoding)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "fsync"):
                patch.setattr(os, name, self.guard(getattr(os, name)))
            patch.setattr(os, "mkdir", self.guard(os.mkdir, needs_room=lambda path, *_: not os.path.exists(path)))
            patch.setattr(io, "open", self.open)
            # Arrow writes by itself, below Python; through Python's files the writes can be counted.
            patch.setattr(pa, "OSFile", lambda path, mode: pa.PythonFile(self.open(path, mode), mode="w"))
            yield
