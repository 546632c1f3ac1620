"""Sinks by their URL: those that come with the package, and plug-ins."""

import inspect
from importlib.metadata import entry_points
from typing import Any, Final

from blocklist_sdk.enforcement import sinks
from blocklist_sdk.enforcement.sink import Sink
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import missing_extra

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


def open_sink(url: str, *, feed: str, ledger: str | None = None, password: str | None = None, **options: Any) -> Sink:
    """Open the sink that a URL names.

    Args:
        url: ``file:``, ``redis://``, ``postgresql://``, ``https://``, ``kafka://``, or a plug-in's.
        feed: the feed of everything that the sink will hold.
        ledger: the id of the sink's ledger (`ledger_id`). A sink that keeps the number of the last batch keeps it for
            each ledger, since a ledger that was lost and begun anew counts from one again.
        password: the sink's password, if it has one, so that it need not stand in the URL, which others see in the list
            of processes. None for the one in the URL, or in the variable ``BLOCKLIST_SINK_PASSWORD``.
        options: options of the sink, as its own opener has them, such as `open_webhook_sink`.

    Raises:
        InvalidInput: no sink has the scheme, a package is not installed, or the sink cannot use the URL.
    """
    scheme = _scheme_of(url)
    plug_ins = {plug_in.name: plug_in for plug_in in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in plug_ins:
        opener = plug_ins[scheme].load()
    elif scheme in _BUILT_IN:
        try:
            opener = getattr(sinks, f"open_{_BUILT_IN[scheme]}_sink")
        except ModuleNotFoundError as error:
            extra = _BUILT_IN[scheme]
            raise InvalidInput(missing_extra(str(error.name), extra)) from error
    else:
        known = ", ".join(sorted({*_BUILT_IN, *plug_ins}))
        wrong = f"no sink has the scheme {scheme!r}" if scheme else "the sink's URL has no scheme"
        raise InvalidInput(f"{wrong}: begin it with one of {known}")
    taken = inspect.signature(opener).parameters
    if ledger is not None and "ledger" in taken:
        options = {**options, "ledger": ledger}
    if password is not None:
        if "password" not in taken:
            raise InvalidInput(
                f"a sink with {scheme}: takes no password: leave out the one that is given beside its URL"
            )
        options = {**options, "password": password}
    sink: Sink = opener(url, feed=feed, **options)
    return sink


def _scheme_of(url: str) -> str:
    """The scheme of a sink's URL; empty if it has none. A text before a colon may be anything, such as a user."""
    scheme, colon, rest = url.partition(":")
    is_one = bool(colon) and scheme.isascii() and scheme.replace("+", "").replace("-", "").replace(".", "").isalnum()
    is_known = scheme.lower() == "file" or rest.startswith("/")
    return scheme.lower() if is_one and is_known else ""
