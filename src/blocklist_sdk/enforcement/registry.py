"""Sinks by their URL: those that come with the package, and plug-ins."""

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


def open_sink(url: str, *, feed: str, **options: Any) -> Sink:
    """Open a sink.

    Args:
        url: says which: ``file:``, ``redis://``, ``postgresql://``, ``https://``, ``kafka://``, or a plug-in's.
        feed: what it will hold is of this feed.
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
        opened: Sink = plug_ins[scheme].load()(url, feed=feed, **options)
        return opened
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
    sink: Sink = module.open_sink(url, feed=feed, **options)
    return sink
