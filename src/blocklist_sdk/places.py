"""Places that come from the process's surroundings: home directories, the user's folders, the working directory.

Any of them may be missing: in a container, or under a service's user, there is often no home directory, and a working
directory may be deleted under a process. Only this module looks for them, so that each miss is said in one way.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from blocklist_sdk.errors import InvalidInput, StorageFailed

_NAME: Final = "blocklist-sdk"

NAME_OTHERS: Final = (
    "name directories for the cache and the state: --cache-dir and --state-dir, BLOCKLIST_CACHE_DIR and "
    "BLOCKLIST_STATE_DIR in the environment, cache_dir and state_dir in a settings file or a call"
)
"""What to do where the user's own directories cannot be used."""


def user_cache() -> Path:
    """The user's directory for caches of this library.

    Raises:
        InvalidInput: the user has no home directory, and the environment names no other place.
    """
    return _user_directory("cache")


def user_state() -> Path:
    """The user's directory for states of this library.

    Raises:
        InvalidInput: the user has no home directory, and the environment names no other place.
    """
    return _user_directory("state")


def advice_on(path: Path) -> str:
    """What to add to the message if a file cannot be used: where it is among the user's own directories, name others.

    Args:
        path: a file or directory.
    """
    for directory in (user_cache, user_state):
        with contextlib.suppress(InvalidInput):
            if not path.is_relative_to(directory()):
                continue
            return f" It is there by default; to have it elsewhere, {NAME_OTHERS}."
    return ""


def expanded(text: str | Path, *, what: str) -> Path:
    """A path with ``~`` or ``~user`` at its beginning replaced by the home directory.

    Args:
        text: the path.
        what: what names it, for messages.

    Raises:
        InvalidInput: there is no such user, or the user has no home directory.

    >>> expanded("/etc/blocklist/root.json", what="root")
    PosixPath('/etc/blocklist/root.json')
    """
    if not str(text).startswith("~"):
        return Path(text)
    user = Path(text).parts[0][1:]
    path = Path(os.path.expanduser(text))
    if str(path).startswith("~") or (not user and not os.environ.get("HOME", "/")):
        who = f"the user {user!r} does not exist" if user else "this user has no home directory"
        raise InvalidInput(f"{what} is {str(text)!r}, but {who}: give the whole path")
    return path


def absolute(path: str | Path) -> Path:
    """The absolute path, links not followed.

    Raises:
        InvalidInput: the path is relative, and the working directory has been deleted.
    """
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise _nowhere(path) from error


def resolved(path: str | Path) -> Path:
    """The absolute path, links followed.

    Raises:
        InvalidInput: the path is relative, and the working directory has been deleted.
        OSError: it cannot be followed.
    """
    try:
        return Path(path).resolve()
    except FileNotFoundError as error:
        raise _nowhere(path) from error


def check_name(path: str | Path) -> None:
    """Refuse a name that is not UTF-8: Arrow, which reads and writes lists, cannot open such a file.

    Raises:
        InvalidInput: it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the name {os.fsencode(path)!r} is not UTF-8: rename that file or folder") from error


def is_nowhere() -> bool:
    """Whether the working directory has been deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


@contextlib.contextmanager
def temporary_directory(*, prefix: str) -> Iterator[Path]:
    """A directory that is deleted at the end.

    Raises:
        StorageFailed: no temporary directory can be used.
    """
    with _room_for_temporary_files():
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with made as name:
        yield Path(name)


def temporary_file() -> io.FileIO:
    """A file without a name and without a buffer, which is gone when it is closed.

    Raises:
        StorageFailed: no temporary directory can be used.
    """
    with _room_for_temporary_files():
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- the caller closes it
    assert isinstance(file, io.FileIO)
    return file


def named_temporary_file() -> "tempfile._TemporaryFileWrapper[bytes]":
    """A file that is deleted when it is closed.

    Raises:
        StorageFailed: no temporary directory can be used.
    """
    with _room_for_temporary_files():
        return tempfile.NamedTemporaryFile()


@contextlib.contextmanager
def _room_for_temporary_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = os.environ.get("TMPDIR") or tempfile.tempdir or "/tmp"  # noqa: S108 -- named in a message
        raise StorageFailed(
            f"no file can be made in a temporary directory ({error.strerror or error}): name one that can be written "
            "in the environment: TMPDIR",
            path=Path(place),
        ) from error


def _user_directory(kind: Literal["cache", "state"]) -> Path:
    import platformdirs  # here, since it is not needed where directories are given

    look_up = platformdirs.user_cache_path if kind == "cache" else platformdirs.user_state_path
    try:
        path = look_up(_NAME)
    except (RuntimeError, KeyError, OSError) as error:
        raise _homeless() from error
    if not path.is_absolute():
        raise _homeless()
    return path


def _homeless() -> InvalidInput:
    return InvalidInput(f"this user has no home directory, where a list would be kept by default: {NAME_OTHERS}")


def _nowhere(path: str | Path) -> InvalidInput:
    return InvalidInput(
        f"the working directory has been deleted, so {str(path)!r} leads nowhere: change to one that exists, or give "
        "an absolute path"
    )
