"""``blocklist init``: settings for a recipient, and the root that they pin."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from blocklist_sdk.cli.output import AsJson, say, write_json, write_line, write_lines
from blocklist_sdk.cli.settings import SERVER, Settings, with_settings
from blocklist_sdk.disk import regular_target, storage, write_file
from blocklist_sdk.errors import ExchangeError, InvalidInput, Untrusted
from blocklist_sdk.modes import PUBLIC
from blocklist_sdk.settings.template import path_from, write_settings_file
from blocklist_sdk.settings.values import CONFIG_NAME, SECRET_VARIABLE, holds_secret, metavar_of

if TYPE_CHECKING:
    from blocklist_sdk.recipient.offered import OfferedFeed, OfferedRoot, Repository

_ROOT_NAME: Final = "root.json"
_YES: Final = "yes"
_ANOTHER_WAY: Final = "by another way than the repository, such as a call or a signed mail"


@dataclass(frozen=True, slots=True)
class _Pin:
    """The root that is pinned.

    Attributes:
        root: the root.
        file: where it is, or will be.
    """

    root: "OfferedRoot"
    file: Path


@with_settings("root", "region", "form", "cache_dir", "state_dir", "protected", *SERVER, reads_file=False)
def init(
    settings: Settings,
    url: Annotated[str, typer.Argument(metavar="URL", help="The repository: https:, http: or file:.")],
    feeds: Annotated[
        list[str] | None,
        typer.Option("--feed", metavar="NAME", help="A feed to receive; may be repeated."),
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="DIGITS",
            help="The root's fingerprint, as its publisher has told you otherwise: the root that has it is pinned.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The settings file to write.")] = Path(
        CONFIG_NAME
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Replace the settings file, and root.json beside it, if they exist.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write settings to receive a list: blocklist.toml, and root.json, which decides what is trusted.

    The root is a file that you got by a way you trust (--root). Otherwise it comes from the repository, and is pinned
    only if it has the fingerprint that you give, or if you compare it on a terminal and say so.

    Nothing is written before the root and the feeds are verified, and no file is replaced without --force.
    """
    from blocklist_sdk.recipient.offered import Repository

    _check_is_free(output, force=force)
    settings = _with_secret(replace(settings, url=url))
    repository = Repository(url, auth=settings.repository_auth(), tls=settings.tls())
    pin = _pinned(repository, settings.root, fingerprint, folder=output.parent, force=force)
    found = _checked_feeds(repository, pin.root.data, feeds or [])
    values = _values(settings, url, found[0].name, pin, folder=output.parent)
    _write(output, values, pin, [feed.name for feed in found])
    _report(output, pin, found, values, as_json=as_json)


def _check_is_free(file: Path, *, force: bool) -> None:
    """Refuse to replace a file.

    Raises:
        InvalidInput: there is one, and it may not be replaced, or is not a regular file.
    """
    if regular_target(file).exists() and not force:
        raise InvalidInput(f"{file} is there already, and was not changed: give another name with -o, or --force")


def _with_secret(settings: Settings) -> Settings:
    """The settings with the account's secret, which has no flag."""
    if settings.client_id is None or settings.client_secret_file is not None or settings.client_key is not None:
        return settings
    secret = os.environ.get(SECRET_VARIABLE)
    if not secret:
        if not _is_interactive():
            raise InvalidInput(
                f"missing the proof of the account {settings.client_id}: give --client-secret-file or --client-key, or "
                f"set {SECRET_VARIABLE} in the environment"
            )
        from getpass import getpass

        secret = getpass(f"Secret of the account {settings.client_id}: ", stream=sys.stderr)
    return replace(settings, client_secret=secret)


def _pinned(repository: "Repository", file: str | None, fingerprint: str | None, *, folder: Path, force: bool) -> _Pin:
    """The root that a person has decided to trust.

    Raises:
        InvalidInput: nobody has decided, or the fingerprint is not one.
        Untrusted: no root that is offered has the fingerprint.
    """
    from blocklist_sdk.recipient.offered import given_root, same_fingerprint

    if file is not None:
        root = given_root(file)
        if fingerprint is not None and not same_fingerprint(root, fingerprint):
            raise Untrusted(
                f"{file} has the fingerprint {root.fingerprint}, which is not the one that was given: it is another "
                "root, or was changed on its way. Nothing was written. Ask the publisher."
            )
        return _Pin(root, Path(file))
    roots = repository.roots()
    if fingerprint is not None:
        root_or_none = next((each for each in reversed(roots) if same_fingerprint(each, fingerprint)), None)
        if root_or_none is None:
            offered = "; ".join(f"version {each.version}: {each.fingerprint}" for each in roots)
            raise Untrusted(
                f"the repository offers no root with the fingerprint that was given, but {offered}. Nothing was "
                f"written. Check the address, and the fingerprint with the publisher, {_ANOTHER_WAY}."
            )
        root = root_or_none
    else:
        root = roots[-1]
        _confirm(root)
    place = folder / _ROOT_NAME
    if not (place.is_file() and place.read_bytes() == root.data):
        _check_is_free(place, force=force)
    return _Pin(root, place)


def _confirm(root: "OfferedRoot") -> None:
    """Have a person compare a root that came from the repository.

    Raises:
        InvalidInput: there is no terminal, or the person did not say so.
    """
    from blocklist_sdk.release.fingerprint import spoken

    if not _is_interactive():
        raise InvalidInput(
            f"missing --root FILE or --fingerprint DIGITS: the repository offers its root in version {root.version}, "
            f"with the fingerprint {root.fingerprint}, but only its publisher can say whether that is right. Ask for "
            f"it, {_ANOTHER_WAY}. Nothing was written"
        )
    sys.stderr.write(f"The repository offers its root in version {root.version}, with the fingerprint\n\n")
    sys.stderr.writelines(f"    {line}\n" for line in spoken(root.fingerprint))
    sys.stderr.write(
        f"\nWhoever controls the repository can show any root here. So have the publisher say the fingerprint,\n"
        f"{_ANOTHER_WAY}, and compare all of it.\n\nIs it the same to the last digit? Type {_YES} to pin it: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != _YES:
        raise InvalidInput("the root was not confirmed, so nothing was written")


def _checked_feeds(repository: "Repository", root: bytes, names: Sequence[str]) -> "tuple[OfferedFeed, ...]":
    """The feeds that were asked for, as they are signed.

    Raises:
        InvalidInput: none was named, or the repository has no such feed.
        ExchangeError: the account may not read one.
    """
    if not names:
        offered = repository.feeds(root)
        known = ", ".join(feed.name for feed in offered if feed.is_permitted)
        raise InvalidInput(
            f"missing --feed NAME: the repository's feeds are: {known or 'none yet'}. Nothing was written"
        )
    found = repository.feeds(root, only=dict.fromkeys(names))
    for feed in found:
        if not feed.is_permitted:
            raise ExchangeError(
                f"feed {feed.name!r} may not be read by this account, or not without one: give --client-id, or ask the "
                f"exchange for the scope feed:{feed.name}. Nothing was written",
                status=403,
                problem={},
            )
    return found


def _values(settings: Settings, url: str, feed: str, pin: _Pin, *, folder: Path) -> dict[str, str | None]:
    """What stands in the file: paths as seen from its folder."""
    values: dict[str, str | None] = {"url": url, "feed": feed, "root": path_from(folder, pin.file)}
    for name in ("region", "form", "cache_dir", "state_dir", "protected", *SERVER, "client_secret"):
        value = getattr(settings, name)
        is_path = metavar_of(name) in ("FILE", "DIR")
        values[name] = path_from(folder, value) if is_path and value is not None else value
    return values


def _write(output: Path, values: dict[str, str | None], pin: _Pin, feeds: list[str]) -> None:
    """Write the root first: settings without it are of no use."""
    others = f"; for {' and '.join(feeds[1:])}, commands take --feed" if len(feeds) > 1 else ""
    with storage(output.parent):
        PUBLIC.make(output.parent)
    with storage(pin.file):
        if not pin.file.exists() or pin.file.read_bytes() != pin.root.data:
            write_file(pin.file, pin.root.data, PUBLIC)
    about = f"Settings to receive the feed {feeds[0]}{others}. The root has the fingerprint {pin.root.fingerprint}."
    write_settings_file(regular_target(output), values, about=about)


def _report(
    output: Path, pin: _Pin, feeds: "Sequence[OfferedFeed]", values: dict[str, str | None], *, as_json: bool
) -> None:
    from blocklist_sdk.release.fingerprint import spoken

    config = "" if output == Path(CONFIG_NAME) else f" --config {shlex.quote(str(output))}"
    others = [f" --feed {feed.name}" for feed in feeds[1:]]
    commands = [f"blocklist sync{config}{other}" for other in ("", *others)]
    commands.append(f"blocklist check{config} NUMBER")
    if as_json:
        document: dict[str, Any] = {
            "settings": output,
            "root": pin.file,
            "version": pin.root.version,
            "fingerprint": pin.root.fingerprint,
            "feeds": [asdict(feed) for feed in feeds],
            "next": commands,
        }
        write_json(document)
        return
    write_line(f"pinned root, version {pin.root.version}: {pin.file}")
    write_lines(f"  {line}" for line in spoken(pin.root.fingerprint))
    secret = ", which holds a secret: only you may read it" if holds_secret(values) else ""
    write_line(f"wrote {output}{secret}")
    write_line("next:")
    write_lines(f"  {command}" for command in commands)
    _say_region(feeds, values)


def _say_region(feeds: "Sequence[OfferedFeed]", values: dict[str, str | None]) -> None:
    """Say that national numbers are not read; a region is nothing to be guessed."""
    if values["region"] is None:
        regions = sorted({feed.region for feed in feeds if feed.region})
        hint = f", such as {' or '.join(regions)}, in which the publisher reads its list" if regions else ""
        say(f"without region, only numbers with + and country code are read: set region in {CONFIG_NAME}{hint}")


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
