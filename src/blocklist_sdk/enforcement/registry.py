"""Sinks by their URL: those that come with the package, and plug-ins."""

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import urlsplit

from blocklist_sdk.enforcement.sink import Sink
from blocklist_sdk.errors import InvalidInput

GROUP: Final = "blocklist_sdk.sinks"
"""The entry point group of plug-ins: a name is a URL's scheme, its value a function like `open_sink`."""

_BUILT_IN: Final = {
    "file": "files",
    "http": "webhook",
    "https": "webhook",
    "kafka": "kafka",
    "postgresql": "postgresql",
    "redis": "redis",
    "rediss": "redis",
}
"""The module of each scheme, whose `open_sink` takes what `open_sink` here takes."""

_EXTRAS: Final = {"kafka": "kafka", "postgresql": "postgres", "redis": "redis"}


def open_sink(url: str, *, feed: str, ledger: str | None = None, **options: Any) -> Sink:
    """Open a sink.

    Args:
        url: says which: ``file:``, ``redis://``, ``postgresql://``, ``https://``, ``kafka://``, or a plug-in's.
        feed: what it will hold is of this feed.
        ledger: the id of the ledger that says what it has acknowledged (`ledger_id`). A sink that keeps the number of
            the last batch keeps that too: a ledger that was lost and begun anew counts from one again.
        options: of the sink.

    Raises:
        InvalidInput: nobody knows the scheme, a package is not installed, or the sink cannot use the URL.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise InvalidInput(f"the sink's URL cannot be used: {error}") from error
    plug_ins = {each.name: each for each in entry_points(group=GROUP)}
    if scheme in plug_ins:
        return _opened(plug_ins[scheme].load(), url, feed, ledger, options)
    if scheme not in _BUILT_IN:
        known = ", ".join(sorted({*_BUILT_IN, *plug_ins}))
        raise InvalidInput(f"there is no sink for {scheme or 'a URL without a scheme'!r}: the schemes are {known}")
    name = _BUILT_IN[scheme]
    try:
        module = import_module(f"blocklist_sdk.enforcement.sinks.{name}")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"{error.name} is not installed: install blocklist-sdk[{_EXTRAS.get(name, name)}]"
        ) from error
    return _opened(module.open_sink, url, feed, ledger, options)


def _opened(opener: Callable[..., Sink], url: str, feed: str, ledger: str | None, options: dict[str, Any]) -> Sink:
    """Open a sink; only those that keep the number of the last batch take a ledger's id."""
    if ledger is not None and "ledger" in inspect.signature(opener).parameters:
        options = {**options, "ledger": ledger}
    return opener(url, feed=feed, **options)
