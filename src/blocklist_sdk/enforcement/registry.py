"""Sinks by their URL: those that come with the package, and plug-ins."""

import inspect
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import urlsplit

from blocklist_sdk.enforcement import sinks
from blocklist_sdk.enforcement.sink import Sink
from blocklist_sdk.errors import InvalidInput

ENTRY_POINT_GROUP: Final = "blocklist_sdk.sinks"
"""The entry point group of plug-ins: the name is a URL's scheme, the value a function like `open_sink`."""

_BUILT_IN: Final = {
    "file": "file",
    "http": "webhook",
    "https": "webhook",
    "kafka": "kafka",
    "postgresql": "postgres",
    "redis": "redis",
    "rediss": "redis",
}
"""The kind of sink for each scheme: opened by `open_KIND_sink`, installed with the extra KIND where it needs one."""


def open_sink(url: str, *, feed: str, ledger: str | None = None, **options: Any) -> Sink:
    """Open the sink that a URL names.

    Args:
        url: ``file:``, ``redis://``, ``postgresql://``, ``https://``, ``kafka://``, or a plug-in's.
        feed: the feed of everything that the sink will hold.
        ledger: the id of the sink's ledger (`ledger_id`). A sink that keeps the number of the last batch keeps it for
            each ledger, since a ledger that was lost and begun anew counts from one again.
        options: options of the sink, as its own opener has them, such as `open_webhook_sink`.

    Raises:
        InvalidInput: no sink has the scheme, a package is not installed, or the sink cannot use the URL.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        # The error's text may quote a part of the URL, and that may be a password.
        raise InvalidInput(
            "the sink's URL cannot be read: check its host, and brackets around an IPv6 address"
        ) from error
    plug_ins = {plug_in.name: plug_in for plug_in in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in plug_ins:
        opener = plug_ins[scheme].load()
    elif scheme in _BUILT_IN:
        try:
            opener = getattr(sinks, f"open_{_BUILT_IN[scheme]}_sink")
        except ModuleNotFoundError as error:
            extra = _BUILT_IN[scheme]
            raise InvalidInput(f"{error.name} is not installed: install blocklist-sdk[{extra}]") from error
    else:
        known = ", ".join(sorted({*_BUILT_IN, *plug_ins}))
        # A text before a colon may be anything, such as a user's name.
        is_scheme = scheme and f"{scheme}:/" in url.lower()
        wrong = f"no sink has the scheme {scheme!r}" if is_scheme else "the sink's URL has no scheme"
        raise InvalidInput(f"{wrong}: begin it with one of {known}")
    if ledger is not None and "ledger" in inspect.signature(opener).parameters:
        options = {**options, "ledger": ledger}
    sink: Sink = opener(url, feed=feed, **options)
    return sink
