"""Checks of the settings: where they are found, who may read them, and whether the root can be used."""

import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from blocklist_sdk.doctor.findings import Finding, fail, ok, skipped, warn
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.modes import access
from blocklist_sdk.numbers.text import check_form
from blocklist_sdk.places import absolute
from blocklist_sdk.recipient.offered import given_root
from blocklist_sdk.release.protected_texts import numbers_of, read_lines
from blocklist_sdk.settings.values import CONFIG_NAME, NAMES, Settings, holds_secret, read_config, variable

_SECRETS: Final = ("client_secret_file", "client_key", "client_cert", "sink_password_file")
"""Settings that name a file with a secret."""

_PROOF_FILES: Final = ("client_secret_file", "client_key")
"""Settings that name the file with which an account proves itself."""

INIT: Final = "blocklist init URL --feed NAME"

OTHER_VARIABLES: Final = tuple(
    map(
        variable,
        (
            "config",
            "passphrase",
            "offline_passphrase",
            "metrics_file",
            "sink",
            "sink_password",
            "webhook_secret",
            "debug",
        ),
    )
)
"""Variables of this library that are no settings."""

_ALIKE: Final = 0.8
"""How alike two names must be to count as one misspelled, by `difflib`: FEEDS and FEED are 0.89; ROOT and PORT, which
Kubernetes sets for a service called blocklist, are 0.5."""


def settings_found(patient: Patient) -> Iterator[Finding]:
    """Which settings are set, and where."""
    name = "settings"
    for found, meant in misspelled(os.environ):
        yield warn(name, f"{found} is in the environment, and no such variable is read", f"set {meant} instead")
    if patient.fault is not None:
        yield fail(name, patient.fault, f"correct {patient.file}, or write it anew: {INIT} --force -o {patient.file}")
        return
    if patient.missing:
        error = InvalidInput(f"missing {' and '.join(patient.missing)}; {_places(patient)}")
        yield fail(name, error, f"{INIT}, or set {' '.join(map(variable, patient.missing))}")
        return
    yield ok(name, _places(patient))


def misspelled(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Variables that look like one of this library's, and are none; each with the one that was probably meant.

    >>> list(misspelled(["BLOCKLIST_FEEDS", "BLOCKLIST_FEED", "BLOCKLIST_PORT", "FEEDS"]))
    [('BLOCKLIST_FEEDS', 'BLOCKLIST_FEED')]
    """
    prefix = variable("")
    known = [each.removeprefix(prefix) for each in (*map(variable, NAMES), *OTHER_VARIABLES)]
    for name in sorted(names):
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and rest not in known:
            for meant in difflib.get_close_matches(rest, known, n=1, cutoff=_ALIKE):
                yield name, prefix + meant


def _places(patient: Patient) -> str:
    by_environment = [each for each in NAMES if os.environ.get(variable(each)) and each != "client_secret"]
    by_flag = [each for each in NAMES if getattr(patient.given, each) is not None and each not in by_environment]
    by_file = [each for each in NAMES if getattr(_of_file(patient), each) is not None]
    parts = [f"{absolute(patient.file)}: {', '.join(by_file)}" if by_file else f"no settings in {patient.file}"]
    if by_environment:
        parts.append(f"environment: {', '.join(by_environment)}")
    if by_flag:
        parts.append(f"flags: {', '.join(by_flag)}")
    return "; ".join(parts)


def _of_file(patient: Patient) -> Settings:
    try:
        return read_config(None if patient.given.config is None else Path(patient.given.config))
    except InvalidInput:
        return Settings()


def permissions(patient: Patient) -> Iterator[Finding]:
    """Whether others may read secrets, or write where only the list's own files are."""
    name = "permissions"
    found = False
    file, settings = patient.file, _of_file(patient)
    values = {each: getattr(settings, each) for each in NAMES}
    if file.is_file() and holds_secret(values) and _others_may(file, stat.S_IROTH | stat.S_IWOTH):
        found = True
        yield warn(name, f"{file} holds a secret, and every user of this machine may read it", f"chmod o= {file}")
    for each in _SECRETS:
        path = getattr(patient.settings, each)
        if path is not None and Path(path).is_file() and _others_may(Path(path), stat.S_IROTH | stat.S_IWOTH):
            found = True
            yield warn(name, f"{path} ({each}) holds a secret, and every user may read it", f"chmod o= {path}")
    for path in [*(patient.directories() or ()), *([Path(patient.settings.root)] if patient.settings.root else [])]:
        if path.exists() and _others_may(path, stat.S_IWOTH):
            found = True
            yield warn(
                name,
                f"every user of this machine may write to {path}, and so decide what is blocked",
                f"chmod o-w {path}",
            )
    if not found:
        yield ok(name, "no secret is readable by every user, and nothing of the list's is writable by every user")


def group(patient: Patient) -> Iterator[Finding]:
    """Whether what is written can get the group and the mode that are set."""
    name, settings = "group", patient.settings
    if settings.group is None and settings.file_mode is None:
        yield skipped(name, "neither group nor file_mode is set")
        return
    try:
        wanted = access(settings.group, settings.file_mode)
    except InvalidInput as error:
        yield fail(name, error, f"correct group and file_mode in {CONFIG_NAME}, or the groups of this user")
        return
    whose = "the user's own group" if settings.group is None else f"the group {settings.group}"
    yield ok(name, f"files get the mode {wanted.file_mode:04o} and {whose}")


def _others_may(path: Path, bits: int) -> bool:
    try:
        return bool(path.stat().st_mode & bits)
    except OSError:
        return False


def root(patient: Patient) -> Iterator[Finding]:
    """Whether the pinned root can be used, and which it is."""
    name = "root"
    if patient.settings.root is None:
        yield skipped(name, "no root is set")
        return
    try:
        pinned = given_root(patient.settings.root)
    except BlocklistError as error:
        yield fail(
            name, error, f"get root.json from the publisher by a way you trust, and name it as root in {CONFIG_NAME}"
        )
        return
    yield ok(name, f"{patient.settings.root}: version {pinned.version}, fingerprint {pinned.fingerprint}")


def account(patient: Patient) -> Iterator[Finding]:
    """Whether the account's proof can be read."""
    name = "account"
    if patient.settings.client_id is None:
        yield skipped(name, "no account is set, so no token is asked for")
        return
    try:
        auth = patient.settings.auth()
    except BlocklistError as error:
        file = error.argument if isinstance(error, InvalidInput) else None
        if file in _PROOF_FILES:
            yield fail(name, error, f"correct {file}, or put a file there that this user may read")
        else:
            yield fail(name, error, f"set one of client_secret_file, client_key and client_secret in {CONFIG_NAME}")
        return
    if auth is None:
        yield skipped(name, "the repository is on this disk, so no token is asked for")
        return
    way = "its key" if patient.settings.client_key is not None else "a secret"
    yield ok(name, f"{patient.settings.client_id}, which proves itself with {way}")


def own_protected(patient: Patient) -> Iterator[Finding]:
    """Whether the recipient's own protected numbers can be read."""
    name, settings = "protected", patient.settings
    if settings.protected is None:
        yield skipped(name, "no file of protected numbers is set")
        return
    try:
        texts = read_lines(Path(settings.protected))
        form = check_form(settings.form or "auto")
        numbers = frozenset[int]().union(*numbers_of(texts, region=settings.region, form=form))
    except BlocklistError as error:
        yield fail(name, error, f"correct {settings.protected}, or protected in {CONFIG_NAME}")
        return
    if not numbers:
        yield warn(name, f"{settings.protected} has no number, so none of yours is protected", "add your own numbers")
        return
    yield ok(name, f"{settings.protected}: {len(numbers):,} numbers are never blocked")
