"""Who may read what this library writes: the one place that decides the modes and groups of files and folders.

- private, 0600 and 0700, for the user who wrote it: keys, tokens, passphrases, overrides, ledgers, rejects, databases,
  evidence
- shared, 0640 and 0750, also for a group: the cache, drop directories, figures, exports, screened files; `group` and
  `file_mode` change it
- public, 0644 and 0755, for everybody, such as a web server: a publisher's repository, a mirror

The umask of the process makes no difference. A file has its mode and its group before it gets its name, and until then
its owner alone can read it.
"""

import errno
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from blocklist_sdk.errors import InvalidInput

_OWNER_BITS: Final = 0o600
_GROUP_WRITE, _OTHERS_WRITE = 0o020, 0o002
_DATABASE_SUFFIXES: Final = ("", "-journal", "-wal", "-shm")
"""The files that SQLite keeps for a database; it makes the others with the mode of the first."""

_LOCK_NAME: Final = "lock"
"""A lock that others can open is one that they can hold."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read and write a kind of file.

    Attributes:
        file_mode: the mode of files. A directory can be entered by whoever may read its files.
        group: the id of the group that they get; None for what the system gives: the group of the process, or that of
            a directory with the setgid bit. Such a directory keeps its group in any case.
        is_explicit: whether a person has asked for it, so that it also holds for files that were there before.
    """

    file_mode: int
    group: int | None = None
    is_explicit: bool = False

    @property
    def directory_mode(self) -> int:
        """The mode of directories.

        >>> oct(SHARED.directory_mode), oct(PRIVATE.directory_mode)
        ('0o750', '0o700')
        """
        return self.file_mode | (self.file_mode & 0o444) >> 2

    def to_be_read(self) -> Self:
        """The same, but only the owner may write.

        >>> oct(Access(0o660).to_be_read().file_mode)
        '0o640'
        """
        return replace(self, file_mode=self.file_mode & ~(_GROUP_WRITE | _OTHERS_WRITE))

    def give(self, path: Path) -> None:
        """Give a file or directory of this user's its group and mode; links, and what others own, stay as they are.

        Raises:
            InvalidInput: this user may not use the group.
            OSError: the disk refused.
        """
        try:
            # Opened once, so that nobody can put a link in its place between the steps.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EACCES, errno.ENXIO):
                return
            raise
        try:
            self._give(descriptor, path)
        finally:
            os.close(descriptor)

    def _give(self, target: int | Path, path: Path) -> None:
        """Give what an open descriptor, or a path, is about its group and mode.

        Args:
            target: the descriptor; or the path, of what must not be opened.
            path: the path.
        """
        status = os.stat(target) if isinstance(target, int) else os.lstat(target)
        if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
            return
        mode = self.directory_mode if stat.S_ISDIR(status.st_mode) else self.file_mode
        group = self._group_of(path, status)
        if group != status.st_gid:
            # For a moment only the owner may read, and never the wrong group.
            os.chmod(target, stat.S_IMODE(status.st_mode) & ~0o077)
            try:
                os.chown(target, -1, group)
            except PermissionError as error:
                raise _not_permitted(str(group)) from error
            status = os.stat(target)
        setgid = status.st_mode & stat.S_ISGID if stat.S_ISDIR(status.st_mode) else 0
        if stat.S_IMODE(status.st_mode) != mode | setgid:
            try:
                os.chmod(target, mode | setgid)
            except PermissionError:
                # A service with RestrictSUIDSGID= may not set the bit, not even again.
                os.chmod(target, mode)

    def _group_of(self, path: Path, status: os.stat_result) -> int:
        """The group that a file or directory is to have; a setgid bit, its own or its directory's, decides first."""
        if self.group is None or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISGID):
            return status.st_gid
        around = os.stat(path.parent)
        return around.st_gid if around.st_mode & stat.S_ISGID else self.group

    def give_all(self, directory: Path) -> None:
        """Give a directory of ours, if it exists, and everything in it their group and mode.

        Links and locks stay as they are.

        Raises:
            InvalidInput, OSError: as for `give`.
        """
        if not directory.exists():
            return
        self.give(directory)
        for folder, folders, files in os.walk(directory):
            for name in (*folders, *files):
                if name != _LOCK_NAME:
                    try:
                        self.give(Path(folder, name))
                    except FileNotFoundError:
                        continue  # another process has just removed it

    def make(self, directory: Path, *, is_ours: bool = False) -> None:
        """Make a directory and its parents, unless they exist. One that exists keeps its group and mode.

        Args:
            directory: the directory.
            is_ours: whether only this library makes it; if the access was asked for, one that exists gets it as well.

        Raises:
            InvalidInput, OSError: as for `give`.
        """
        if directory.is_dir():
            if is_ours and self.is_explicit:
                self.give(directory)
            return
        if not directory.parent.exists():
            self.make(directory.parent)
        try:
            directory.mkdir(mode=self.directory_mode)
        except FileExistsError:
            if not directory.is_dir():
                raise
            return  # another process has just made it
        self.give(directory)

    def prepare_database(self, path: Path) -> None:
        """Make the empty file of a SQLite database, or give one that exists its mode; SQLite's other files follow it.

        Raises:
            InvalidInput: this user may not use the group.
            OSError: the disk refused, or the file is a link.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            os.close(os.open(path, flags, 0o600))
        except FileExistsError:
            self.give_database(path)
        else:
            self._give(path, path)

    def give_database(self, path: Path) -> None:
        """Give the files of a SQLite database their group and mode, as far as they exist.

        None is opened: to close a file here would release the locks that SQLite holds on it in this process.

        Raises:
            InvalidInput, OSError: as for `prepare_database`.
        """
        for suffix in _DATABASE_SUFFIXES:
            file = path.with_name(path.name + suffix)
            try:
                if file.is_symlink():
                    raise OSError(f"{file} is a link, where a database of our own must be")
                self._give(file, file)
            except FileNotFoundError:
                continue


PRIVATE: Final = Access(0o600)
"""Secrets, and what a user has decided or done."""

SHARED: Final = Access(0o640)
"""What other programs read; they are in the group of whoever writes it."""

PUBLIC: Final = Access(0o644)
"""What a web server reads."""


def access(group: str | int | None = None, file_mode: str | int | None = None) -> Access:
    """The access to what is shared, as a person has asked for it; `SHARED` without a wish.

    Args:
        group: a group's name, or its number.
        file_mode: an octal text such as ``"0640"``, or a number such as ``0o640``.

    Raises:
        InvalidInput: there is no such group, this user is not a member of it, or the mode cannot be used.

    >>> oct(access(file_mode="0660").file_mode), access() is SHARED
    ('0o660', True)
    """
    if group is None and file_mode is None:
        return SHARED
    mode = SHARED.file_mode if file_mode is None else _mode(file_mode)
    return Access(mode, None if group is None else _group_id(group), is_explicit=True)


def _mode(file_mode: str | int) -> int:
    mode = file_mode
    if isinstance(mode, str):
        try:
            mode = int(mode.removeprefix("0o"), 8)
        except ValueError:
            mode = -1
    if isinstance(mode, bool) or not 0 <= mode <= 0o777 or mode & 0o113 or mode & _OWNER_BITS != _OWNER_BITS:
        shown = file_mode if isinstance(file_mode, str) else oct(file_mode)
        raise InvalidInput(
            f"file_mode must be an octal mode in which the owner may read and write, others may not write, and nobody "
            f'may execute, such as "0640" or "0660", not {shown!r}',
            argument="file_mode",
        )
    return mode


def _group_id(group: str | int) -> int:
    """The id of a group that this user may give to files."""
    if isinstance(group, str) and not group.isdecimal():
        import grp

        try:
            number = grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise InvalidInput(
                f"there is no group {group!r} on this machine: make it with groupadd, or give the name or the number "
                "of another one",
                argument="group",
            ) from error
    else:
        number = int(group)
        if isinstance(group, bool) or not 0 <= number < 2**32 - 1:
            raise InvalidInput(f"a group's number is 0 to {2**32 - 2:,}, not {group!r}", argument="group")
    if os.geteuid() != 0 and number not in {os.getegid(), *os.getgroups()}:
        raise _not_permitted(str(group))
    return number


def _not_permitted(group: str) -> InvalidInput:
    mine = ", ".join(map(str, sorted({os.getegid(), *os.getgroups()})))
    return InvalidInput(
        f"this user is not a member of the group {group}, so it cannot give files to it: add the user with "
        f"`usermod --append --groups {group} USER` and log in again, or for a service set SupplementaryGroups={group}; "
        f"or give one of the groups it is in ({mine})",
        argument="group",
    )
