"""Checks of the list on this machine: is it there and fresh, do its overrides and ledgers open, do sinks answer."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from blocklist_sdk import times
from blocklist_sdk.doctor.findings import Finding, fail, ok, skipped, warn
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import IdentifiedSink, ProbeableSink, SinkUnavailable
from blocklist_sdk.errors import (
    BlocklistError,
    InvalidInput,
    Malformed,
    NotPermitted,
    NotSynced,
    Refused,
    Stale,
    Unreachable,
    foreign_text,
)
from blocklist_sdk.net.addresses import shown
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.release.published import clock_behind_text
from blocklist_sdk.texts import counted

_OLD: Final = timedelta(days=2)
"""A list is synced hourly as a rule."""

_CONNECT_S: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443, "kafka": 9092}


def freshness(patient: Patient) -> Iterator[Finding]:
    """Whether there is a list, how old it is, and how the last sync went."""
    name = "list"
    with_list = _opened(patient)
    if isinstance(with_list, str):
        yield skipped(name, with_list)
        return
    state = with_list.status()
    if state.serial is None:
        why = f"; the last sync failed: {state.last_error}" if state.last_error else ""
        if state.generations:
            damage = Malformed(f"the list of feed {state.feed!r} on this disk is damaged{why}")
            yield fail("damage", damage, "blocklist sync, which fetches the list again; then see to the disk")
            return
        yield fail(name, NotSynced(f"feed {state.feed!r} was never synced on this machine{why}"), "blocklist sync")
        return
    release = f"release {state.serial}, {state.rows:,} entries"
    if state.stale:
        error = Stale(f"{release}, is past its signed expiry of {state.expires:%Y-%m-%d %H:%M} UTC")
        yield fail(name, error, "blocklist sync; if that does not help, the publisher is late, or the clock is wrong")
    elif state.refused is not None:
        refused = Refused(f"{release}; release {state.refused} was refused: {'; '.join(state.refusals)}")
        yield fail(
            name, refused, f"blocklist sync --dry-run, and if it is right, blocklist sync --accept {state.refused}"
        )
    elif state.last_error is not None:
        yield warn(name, f"{release}; the last sync failed: {state.last_error}", "blocklist sync")
    elif state.last_success is None or times.now() - state.last_success > _OLD:
        when = "never" if state.last_success is None else f"{state.last_success:%Y-%m-%d %H:%M} UTC"
        yield warn(name, f"{release}; the last sync was {when}", "blocklist sync, by a timer or with --watch")
    else:
        yield ok(name, f"{release}, synced {state.last_success:%Y-%m-%d %H:%M} UTC")
    if state.damaged:
        damage = Malformed(f"{release}: a part of it on this disk is not as it was written")
        yield fail("damage", damage, "blocklist sync, which fetches the list again; then see to the disk")
    if state.clock_behind_s is not None:
        error = Stale(clock_behind_text(state.clock_behind_s))
        yield fail("clock", error, "set this machine's clock, for example: timedatectl set-ntp true")


def overrides(patient: Patient) -> Iterator[Finding]:
    """Whether the recipient's own decisions can be read."""
    name = "overrides"
    with_list = _opened(patient)
    if isinstance(with_list, str):
        yield skipped(name, with_list)
        return
    try:
        count = sum(1 for _ in with_list.overrides)
    except BlocklistError as error:
        yield fail(name, error, "restore the state directory from a copy; blocklist override list shows what is there")
        return
    yield ok(name, f"{count:,} of your own")


def ledgers(patient: Patient) -> Iterator[Finding]:
    """Whether the ledgers of sinks are whole, and to which sinks they belong."""
    name = "ledgers"
    folders = _ledger_folders(patient)
    if not folders or patient.settings.feed is None:
        yield skipped(name, "nothing was enforced from here")
        return
    for folder in folders:
        try:
            ledger = Ledger.read(folder, feed=patient.settings.feed)
        except BlocklistError as error:
            yield fail(
                name,
                error,
                f"restore the ledger from a copy, or blocklist enforce --reconcile --repair --name {folder.name}",
            )
            continue
        where = "no sink yet" if ledger.sink is None else ledger.sink.address
        if ledger.waiting() is not None:
            yield warn(
                name,
                f"{folder.name}: belongs to {where}; a part of the last run is unexplained, and waits",
                f"blocklist enforce --name {folder.name} --dry-run, and if it is right, --accept",
            )
        else:
            yield ok(name, f"{folder.name}: belongs to {where}, {counted(ledger.last, 'batch', 'batches')}")


def sinks(patient: Patient) -> Iterator[Finding]:
    """Whether the sinks that are named answer, and which ledger belongs to each."""
    name = "sink"
    if not patient.sinks or patient.settings.feed is None:
        yield skipped(name, "no sink is named: give --sink, or set BLOCKLIST_SINK")
        return
    for url in patient.sinks:
        yield from _sink(patient, patient.settings.feed, url)


def _sink(patient: Patient, feed: str, url: str) -> Iterator[Finding]:
    name = "sink"
    try:
        sink = open_sink(url, feed=feed, **patient.settings.sink_options(url))
    except BlocklistError as error:
        yield fail(
            name,
            error,
            "correct --sink or BLOCKLIST_SINK, its password, or group and file_mode, or install the extra that the "
            "message names",
        )
        return
    address = "the sink"
    try:
        identity = sink.identity() if isinstance(sink, IdentifiedSink) else None
        address = address if identity is None else identity.address
        if patient.is_offline and urlsplit(url).scheme != "file":
            yield skipped(name, f"{address}: --offline leaves the network alone")
            return
        holds = ""
        if isinstance(sink, ProbeableSink):
            holds = ", and holds nothing of the feed" if sink.is_empty() else ", and holds items of the feed"
        elif isinstance(place := _place(url), tuple):
            socket.create_connection(place, _CONNECT_S).close()
        yield ok(name, f"{address} answers{holds}")
        if identity is not None:
            yield from _bound(patient, identity.address)
    except SinkUnavailable as error:
        if error.is_permitted:
            yield _unanswered(name, address, error)
        else:
            refused = NotPermitted(f"{address} does not permit this: {foreign_text(error)}", url=address)
            yield fail(name, refused, "correct user and password of the sink, or give the account the rights it needs")
    except OSError as error:
        yield _unanswered(name, address, error)
    finally:
        sink.close()


def _unanswered(name: str, address: str, error: Exception) -> Finding:
    unreachable = Unreachable(f"{address} does not answer: {foreign_text(error)}", url=address)
    return fail(name, unreachable, "start the system, and check address, user and password")


def _bound(patient: Patient, address: str) -> Iterator[Finding]:
    """Which ledger belongs to a sink."""
    name, feed = "binding", patient.settings.feed
    assert feed is not None
    known: dict[str, str] = {}
    for folder in _ledger_folders(patient):
        try:
            bound = Ledger.read(folder, feed=feed).sink
        except BlocklistError:
            continue  # a finding of its own
        if bound is not None:
            known[folder.name] = bound.address
    owners = [each for each, at in known.items() if at == address]
    if owners:
        yield ok(name, f"the ledger {' and '.join(owners)} belongs to {address}")
    elif patient.sink_name in known:
        error = InvalidInput(
            f"the ledger of {patient.sink_name!r} belongs to {known[patient.sink_name]}, not to {address}"
        )
        yield fail(
            name, error, "give this sink a name of its own (--name); if it took the other's place, enforce --adopt"
        )
    else:
        yield warn(
            name, f"no ledger belongs to {address} yet", f"blocklist enforce --name {patient.sink_name} --dry-run"
        )


def _place(url: str) -> tuple[str, int] | None:
    """Host and port of a sink."""
    try:
        parts = urlsplit(shown(url).partition(",")[0])
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (host, port) if host and port else None


def _ledger_folders(patient: Patient) -> list[Path]:
    found = patient.directories()
    folder = None if found is None else found[1] / "sinks"
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder is not None and folder.is_dir() else []


def _opened(patient: Patient) -> Blocklist | str:
    """The list, or why it cannot be opened."""
    try:
        return patient.blocklist() or "settings are missing"
    except BlocklistError as error:
        return f"the list cannot be opened: {error}"
