"""What opens a list by the settings of its environment: the arguments of `Blocklist.open`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from blocklist_sdk.errors import concerning
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.text import check_form
from blocklist_sdk.recipient.current_list import WhenStale
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.settings.values import Settings

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.fetch.transport import TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.recipient.guard import Guard

_REQUIRED = ("url", "feed", "root")


class ListArguments(TypedDict, total=False):
    """Arguments of `Blocklist.open`; each that is given goes before the settings."""

    url: str
    feed: str
    root: str | Path | bytes
    region: str | None
    form: Form
    cache_dir: str | Path | None
    state_dir: str | Path | None
    protected: str | Path | Iterable[str | int]
    guard: "Guard | Literal['default'] | None"
    max_rows: int
    when_stale: WhenStale
    auth: "httpx.Auth | None"
    tls: "ssl.SSLContext | None"
    transport: "TransportSettings | None"
    group: str | int | None
    file_mode: str | int | None


def settings_of(path: str | Path | None, given: ListArguments) -> Settings:
    """The settings of the environment and the file, complete but for what is given; a bundle needs no URL and no feed.

    Args:
        path: the settings file; None for the one that ``BLOCKLIST_CONFIG`` names, or else ``blocklist.toml`` in the
            working directory, which need not exist.
        given: arguments that need no setting.

    Raises:
        InvalidInput: a required setting is missing, or the file cannot be used.
    """
    settings = Settings.from_environment()
    if path is not None:
        settings = replace(settings, config=str(path))
    required = ("root",) if "url" not in given and settings.complete().bundle is not None else _REQUIRED
    return settings.complete(tuple(name for name in required if name not in given), by_flag=False)


def open_arguments(
    settings: Settings, given: ListArguments, *, online: bool = True, writes: bool = True
) -> dict[str, Any]:
    """The arguments of `Blocklist.open`.

    Args:
        settings: complete settings.
        given: arguments that go before them. What stands for one of these is not read: with ``auth`` no secret is.
        online: also those that a sync needs: account, certificates, limits.
        writes: also those of what is written: group and mode. Who only asks need not be in the group.

    Raises:
        InvalidInput: a setting cannot be used.
    """
    arguments: dict[str, Any] = {"url": settings.url, "feed": settings.feed, "root": settings.root}
    arguments |= {"region": settings.region, "cache_dir": settings.cache_dir, "state_dir": settings.state_dir}
    if settings.protected is not None:
        arguments["protected"] = settings.protected
    if settings.form is not None and "form" not in given:
        arguments["form"] = check_form(settings.form)
    if writes:
        arguments |= {"group": settings.group, "file_mode": settings.file_mode}
    if online:
        if "auth" not in given:
            address = given.get("url")
            arguments["auth"] = (settings if address is None else replace(settings, url=address)).repository_auth()
        if "tls" not in given:
            arguments["tls"] = settings.tls()
        arguments |= _sync_limits(settings, given)
    return {**arguments, **given}


_OF_BUNDLES: Final = ("root", "feed", "region", "form", "protected", "when_stale")
"""The arguments of `Blocklist.open` that are about asking, so that `Blocklist.open_bundle` has them, too."""


def bundle_arguments(settings: Settings, given: ListArguments) -> dict[str, Any]:
    """The arguments of `Blocklist.open_bundle`; what is given about syncing is left out.

    Args:
        settings: complete settings, with a bundle.
        given: arguments that go before them.

    Raises:
        InvalidInput: a setting cannot be used.
    """
    arguments = open_arguments(settings, given, online=False, writes=False)
    if settings.bundle_min_release is not None:
        with concerning("bundle_min_release"):
            ReleaseId.parse(settings.bundle_min_release)
    return {
        "path": settings.bundle,
        "overrides": settings.bundle_overrides_count(),
        "min_release": settings.bundle_min_release,
        **{name: arguments[name] for name in _OF_BUNDLES if name in arguments},
    }


def _sync_limits(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that bound what a sync may do."""
    limits: dict[str, Any] = settings.limits("sync")
    found: dict[str, Any] = {}
    if (max_rows := limits.pop("max_rows", None)) is not None:
        found["max_rows"] = max_rows
    if (deadline_s := limits.pop("deadline", None)) is not None and "transport" not in given:
        from blocklist_sdk.fetch.transport import TransportSettings

        found["transport"] = TransportSettings(deadline_s=deadline_s)
    if limits and "guard" not in given:
        from blocklist_sdk.recipient.guard import Guard

        found["guard"] = Guard(**limits)
    return found
