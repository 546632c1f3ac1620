"""`Blocklist`: one feed, ready to answer questions about numbers."""

import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, Unpack, get_args

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, InvalidNumber, not_pickled
from blocklist_sdk.fetch.url_and_root import base_url, read_root
from blocklist_sdk.modes import access
from blocklist_sdk.numbers import Form, brand_of, normalizer, operator_of
from blocklist_sdk.recipient.arguments import check_scope, directories, protected_numbers, row_limit
from blocklist_sdk.recipient.current_list import LevelPath, WhenStale, is_past
from blocklist_sdk.recipient.internals import AskedInternals, Internals
from blocklist_sdk.recipient.sync_outcomes import Attempt, Listener
from blocklist_sdk.recipient.verdicts import decide
from blocklist_sdk.records import (
    BundleResult,
    Entry,
    Explanation,
    Impact,
    Level,
    Reason,
    RootReplacement,
    Scope,
    Status,
    SyncResult,
    UpkeepResult,
    Verdict,
    Verification,
)
from blocklist_sdk.release.fingerprint import fingerprint
from blocklist_sdk.release.limits import ROWS_MAX
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.release.release_id import ReleaseId

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.fetch.stopping import StopSignal
    from blocklist_sdk.fetch.transport import TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable
    from blocklist_sdk.recipient.background import BackgroundSync
    from blocklist_sdk.recipient.cache.overrides import Overrides
    from blocklist_sdk.recipient.changes import Changes
    from blocklist_sdk.recipient.from_settings import ListArguments
    from blocklist_sdk.recipient.guard import Guard
    from blocklist_sdk.recipient.screening.columns import Screening
    from blocklist_sdk.release.audit import AuditRecord


class Blocklist:
    """One feed on this machine; open it with `Blocklist.open`. May be shared by threads.

    Only `sync` and `dry_run` use the network. Everything else answers from the last verified generation on disk, and
    raises `NotSynced` until there is one. A generation that any process fetched is picked up within a second.

    `open_bundle` opens one that was put into a single file, which answers as well, and never changes.

    Attributes:
        url: the repository's base URL; of a bundle that of the file.
        feed: the feed's name.
        region: the region in which numbers without a country code are read; None if they are refused.
        form: how digits without a plus are read; see `open`.
        overrides: your own decisions, which go before the feed's.
    """

    def __init__(self, internals: AskedInternals, url: str) -> None:
        """For `open`; not for users."""
        self.url: str = url
        self.feed: str = internals.feed
        self.region: str | None = internals.region
        self.form: Form = internals.form
        self.overrides: Overrides = internals.overrides
        self._internals = internals
        self._current = internals.current
        self._read = internals.read
        self._listeners: tuple[Listener, ...] = ()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        feed: str,
        root: str | Path | bytes,
        region: str | None = None,
        form: Form = "auto",
        cache_dir: str | Path | None = None,
        state_dir: str | Path | None = None,
        protected: str | Path | Iterable[str | int] = (),
        guard: "Guard | Literal['default'] | None" = "default",
        max_rows: int = ROWS_MAX,
        when_stale: WhenStale = "serve",
        auth: "httpx.Auth | None" = None,
        tls: "ssl.SSLContext | None" = None,
        transport: "TransportSettings | None" = None,
        group: str | int | None = None,
        file_mode: str | int | None = None,
    ) -> Self:
        """Open a feed; never uses the network.

        Args:
            url: the repository's base URL: ``https:``, ``http:`` or ``file:``.
            feed: the feed's name.
            root: the authority's root metadata: a path, or its bytes. It decides what is trusted, so get it in a way
                that you trust, never from the repository itself.
            region: CLDR region, for instance ``"GB"``, in which numbers without a country code are read; None to
                accept international numbers only.
            form: how digits without a plus are read: ``international`` takes them as country code and number,
                ``national`` as dialled in the region. ``auto`` decides for each column that is screened as a whole, and
                otherwise means ``national``.
            cache_dir: where generations are kept; by default in the user's cache directory, one for each URL. Give
                each authority its own.
            state_dir: where the highest serial is kept, which protects against old releases even after the cache was
                wiped; by default in the user's state directory, or in `cache_dir` if that is given. Then wipe single
                feeds, not the whole directory.
            protected: numbers of your own that are never blocked, whatever a feed says, in addition to those that the
                authority protects: numbers, ranges and patterns, up to 10,000 numbers each; or a text file with one a
                line.
            guard: what a release may change by itself; None lets every release through.
            max_rows: how many rows a release may have; one with more is refused before it is downloaded, whoever
                accepts it. The protocol allows 500 million.
            when_stale: what to do past the signed expiry, and while this machine's clock is known to be more than five
                minutes behind: ``serve`` goes on answering, and marks every verdict and the log; ``raise`` raises
                `Stale` from every question.
            auth: credentials for the repository: `ClientCredentials`, `PrivateKeyJwt`, or any that httpx takes.
            tls: which servers are trusted, and your own certificate if the repository asks for one; by default
                public authorities, and no certificate.
            transport: timeouts and retries.
            group: the group whose members may ask this list, by name or number: they read the cache, and the overrides,
                which decide answers. By default the cache is for the process's own group, and the state, with the
                overrides, is for its user alone. Only what writes needs it.
            file_mode: the mode of these files, such as ``"0644"`` to let every user ask; by default ``"0640"``. Others
                than the owner cannot write in any case.

        Raises:
            InvalidInput: the URL, the feed's name, the root, the region, the form, the protected numbers, `max_rows`,
                the group or the mode cannot be used.
        """
        address = base_url(url)
        if when_stale not in get_args(WhenStale):
            raise InvalidInput(f"when_stale must be serve or raise, not {when_stale!r}")
        cache, state = directories(url, cache_dir, state_dir)
        internals = Internals(
            feed=feed_name(feed),
            root=read_root(root),
            region=region,
            form=form,
            cache_directory=cache / feed,
            state_directory=state / feed,
            protected=protected_numbers(protected, region, form),
            guard=guard,
            max_rows=row_limit(max_rows),
            when_stale=when_stale,
            auth=auth,
            tls=tls,
            transport=transport,
            access=access(group, file_mode).to_be_read(),
        )
        return cls(internals, address)

    @classmethod
    def from_settings(cls, path: str | Path | None = None, **given: "Unpack[ListArguments]") -> Self:
        """Open the feed that the settings name, as the commands do; never uses the network.

        What is given here goes before variables of the environment (``BLOCKLIST_URL``), these before the settings file,
        and the file before the defaults. Relative paths in the file are relative to it. Account, certificates and the
        limits of a sync come from the settings as well. If they name a bundle, and no URL is given here, it is opened,
        and what is given about syncing is left out.

        Args:
            path: the settings file; by default the one that ``BLOCKLIST_CONFIG`` names, or else ``blocklist.toml`` in
                the working directory, if it exists.
            given: arguments of `open`. With ``auth`` given, None included, no secret or key is read, so that a process
                that only asks need not be allowed to.

        Raises:
            InvalidInput: a required setting is missing, the file cannot be read or has a name that is not a setting's,
                or a value cannot be used.
        """
        from blocklist_sdk.recipient.from_settings import bundle_arguments, open_arguments, settings_of

        settings = settings_of(path, given)
        if settings.bundle is not None and "url" not in given:
            return cls.open_bundle(**bundle_arguments(settings, given))
        return cls.open(**open_arguments(settings, given))

    @classmethod
    def open_bundle(
        cls,
        path: str | Path,
        *,
        root: str | Path | bytes,
        feed: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        protected: str | Path | Iterable[str | int] = (),
        overrides: bool = False,
        when_stale: WhenStale = "serve",
        min_release: int | str | None = None,
    ) -> Self:
        """Open a bundle, made by `bundle`; never uses the network, and writes nothing.

        Everything is verified first, as `verify` does: every byte, the signatures from the pinned root down, the
        digest, and what was worked out from the rows. That takes about half a second for a million entries, once
        (``python -m benchmarks.bundles``); a process that forks afterwards shares it. Processes that open the same file
        share its memory.

        A bundle is as old as it says. Its signatures do not show whether there is a newer one: see `min_release` and
        `when_stale`. If the root is newer than the bundle, its keys must have signed the bundle as well.

        Args:
            path: the file. Replace it by renaming another one, never by writing into it.
            root: the authority's root metadata, as for `open`.
            feed: the feed that it must be of; None for whatever it is of.
            region: as for `open`.
            form: as for `open`.
            protected: numbers of your own that are never blocked, as for `open`.
            overrides: whether overrides that are in the bundle count, and its maker's own protected numbers. Nobody
                signs them: with True, whoever can write the file decides which numbers are blocked or allowed, whatever
                the authority says.
            when_stale: as for `open`; the bundle expires with its signatures.
            min_release: the oldest release that is taken. Give the era as well, ``"2.41"``: a bare ``41`` is compared
                within the bundle's own era, so it takes release 60 of an era that has ended, and refuses release 1 of
                one that has begun since.

        Returns:
            A list that answers. What would write, such as `sync`, `hold` or ``overrides.allow``, raises `InvalidInput`.

        Raises:
            InvalidInput: the file cannot be read, an argument cannot be used, or `overrides` is True, and the bundle
                was made without.
            Untrusted: a byte of the file is not as it was written, it was not signed by those whom the root trusts, it
                is of another feed, or of an older release than `min_release`.
        """
        from blocklist_sdk.recipient.bundle.opened import open_internals

        if when_stale not in get_args(WhenStale):
            raise InvalidInput(f"when_stale must be serve or raise, not {when_stale!r}")
        internals = open_internals(
            Path(path),
            root=read_root(root),
            feed=None if feed is None else feed_name(feed),
            region=region,
            form=form,
            protected=protected_numbers(protected, region, form),
            with_overrides=overrides,
            when_stale=when_stale,
            oldest=None if min_release is None else ReleaseId.parse(str(min_release)),
        )
        return cls(internals, internals.file.path.as_uri())

    def bundle(self, path: str | Path, *, overrides: bool = False) -> BundleResult:
        """Write the list in force into one file, which `open_bundle` opens anywhere without a cache or the network.

        In it are the release, the signed metadata that proves it, from the pinned root down, and the authority's
        protected numbers. It is read as whoever opens it will, and gets its name then: a file of that name is replaced
        in one step, and stays as it is if anything fails. Needs no network.

        Args:
            path: the file.
            overrides: whether your overrides and your own protected numbers come along; they count where it is opened
                with ``overrides=True``. The file is private then, unless the list was opened with a group or a mode.

        Raises:
            NotSynced, Stale: as for `check`.
            Malformed: the list on this disk is damaged: the next sync fetches it again.
            InvalidInput: `path` is something else than a file; or the signed metadata on this disk is that of another
                release, which the guard refuses, and what proves the one in force is gone; or this is a bundle.
            StorageFailed: the local disk failed.
        """
        from blocklist_sdk.recipient.bundle.writing import write_bundle

        return write_bundle(self._internals.on_disk(), Path(path), overrides=overrides)

    def __reduce__(self) -> NoReturn:
        raise not_pickled(
            f"the Blocklist of feed {self.feed!r}",
            "open it in each process, with the same arguments or from the same settings",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root_fingerprint(self) -> str:
        """The fingerprint of the pinned root, 64 hexadecimal digits, for people to compare with the publisher's."""
        return fingerprint(self._internals.root)

    @property
    def root_version(self) -> int | None:
        """The version of the pinned root; each has another fingerprint. None if it is not root metadata."""
        from blocklist_sdk.release.roots import root_version  # here, since look-ups do without it

        try:
            return root_version(self._internals.root)
        except InvalidInput:
            return None

    def close(self) -> None:
        """Release the generation's files. You may go on using the list; it then opens them again.

        Waits, a minute at most, for the upkeep that a sync may have begun; see `upkeep`.
        """
        self._internals.close()

    def sync(
        self, *, wait_s: float = 60.0, accept: int | str | None = None, stop: "StopSignal | None" = None
    ) -> SyncResult:
        """Bring the feed up to date. Whatever fails, the last verified generation stays in force.

        After it, a thread does the `upkeep` of the list, if any is due; `close` and the end of the program wait for it.

        Args:
            wait_s: how long to wait while another process syncs, in seconds.
            accept: the list that may come into force although the guard refuses it; no other may. The serial of a
                release that was refused on this machine with the same content, or ``"SERIAL:DIGEST"``, as
                `Refused.accept` has it, on any machine.
            stop: stops the sync from another thread. It then raises `blocklist_sdk.fetch.stopping.SyncStopped`, which
                is not an error and not an `Exception`.

        Raises:
            Locked: another process was still syncing after `wait_s` seconds.
            InvalidInput: the repository has no such feed, the root is not root metadata, or `accept` names no list.
            NotSynced: the repository has the feed, which has no release yet.
            ExchangeError: `auth` asked for a token, and the credentials were refused.
            Unreachable: the network failed, or the server failed or was too slow.
            NotPermitted: the server does not let this account have the feed, or wants an account.
            Untrusted: a signature or a hash does not verify, or an older release was offered, or another list under
                the same serial.
            Stale: signed metadata has expired.
            Malformed: a file is not what the protocol says.
            Refused: the guard kept the release out of force, or it has more rows than `max_rows`.
            StorageFailed: the local disk failed, or disk or memory do not suffice for the release.
        """
        result = self._sync(wait_s=wait_s, accept=accept, stop=stop, is_scheduled=False)
        self._internals.on_disk().begin_upkeep()
        return result

    def _sync(
        self, *, wait_s: float, accept: int | str | None, stop: "StopSignal | None", is_scheduled: bool
    ) -> SyncResult:
        internals = self._internals.on_disk()
        with Attempt(self.feed, self._listeners) as attempt, internals.open_transport() as transport:
            attempt.bytes_received = lambda: transport.bytes_received
            with stop.callback(transport.abort) if stop else contextlib.nullcontext():
                attempt.result = result = internals.syncer(self.url).run(
                    transport, wait_s=wait_s, accept=accept, is_scheduled=is_scheduled
                )
        self._current.reload(wait=True)
        return result

    def upkeep(self) -> UpkeepResult:
        """Do what the list on this disk needs now and then, and return when it is done.

        What deltas changed is kept beside the list, and made one with it once that has grown to a few per cent; and
        every byte of the list is read again once a day, by each sync a little, the rest here. You need not call this:
        after a `sync` it is done in a thread, by `keep_synced` between syncs, and by ``blocklist sync`` before it ends.
        Whoever asks or syncs does not wait for it; and a process may be killed meanwhile. One process at a time does
        it for a feed.

        Raises:
            StorageFailed: the local disk failed.
            InvalidInput: the state was written by a newer version of this library.
        """
        return self._internals.on_disk().upkeep.finish()

    def dry_run(self, *, wait_s: float = 60.0, stop: "StopSignal | None" = None) -> Impact:
        """Say what a sync would change: fetch and verify the release, and put nothing in force.

        Args:
            wait_s: how long to wait while another process syncs, in seconds.
            stop: stops it from another thread, as for `sync`.

        Raises:
            Locked, InvalidInput, ExchangeError, Unreachable, Untrusted, Stale, Malformed, StorageFailed: as for `sync`.
        """
        internals = self._internals.on_disk()
        with (
            internals.open_transport() as transport,
            stop.callback(transport.abort) if stop else contextlib.nullcontext(),
        ):
            return internals.syncer(self.url).dry_run(transport, self.overrides, wait_s=wait_s)

    def replace_root(self, fingerprint: str, *, dry_run: bool = False, wait_s: float = 60.0) -> RootReplacement:
        """Pin another root for this feed, where the publisher's keys could not be replaced one after the other.

        Open the list with the new root first. What was remembered of the repository is given up: its signed metadata,
        the highest release ever in force, and what was refused. Overrides, ledgers and the list in force stay, and the
        next sync has the guard compare the new list with it. `verify` cannot prove the list in force until then.

        Args:
            fingerprint: the new root's, 64 digits in groups or not, as the publisher has said it by another way than
                the file.
            dry_run: only say what would be given up.
            wait_s: how long to wait while another process syncs, in seconds.

        Raises:
            InvalidInput: it is not a fingerprint, or the root is not root metadata.
            Untrusted: it is another root's.
            Locked, StorageFailed: as for `sync`.
        """
        from blocklist_sdk.recipient.sync.replaced_root import replace_root

        return replace_root(self._internals.on_disk().syncer(self.url), fingerprint, wait_s=wait_s, dry_run=dry_run)

    def keep_synced(self, every: float | timedelta = 3600.0) -> "BackgroundSync":
        """Sync from now on, in a thread of its own, until it is stopped: by its `stop()`, or by a `with` block's end.

        The first sync runs at once if the feed was never synced, and else at a random moment within `every`. After
        failures it waits longer and longer, 24 hours at most, and never less than the server asked for; a restart does
        not shorten that. It waits just so for a release that ended the process twice while it was built. Processes on
        one cache share the schedule. Failures are in `last_error` and in the log; the last verified generation stays in
        force.

        Args:
            every: the time from one sync to the next, in seconds or as a timedelta.

        Raises:
            InvalidInput: `every` is not more than 0, or more than a year.
        """
        from blocklist_sdk.recipient.background import BackgroundSync
        from blocklist_sdk.recipient.sync.schedule import interval

        internals = self._internals.on_disk()
        return BackgroundSync(
            lambda stop: self._sync(wait_s=0.0, accept=None, stop=stop, is_scheduled=True),
            feed=self.feed,
            every=interval(every),
            store=internals.store,
            state_file=internals.state_file,
            upkeep=internals.upkeep.upkeep,
        )

    def add_listener(self, listener: Listener) -> None:
        """Call a function after every sync of this list, successful or failed, in the thread that ran it."""
        self._internals.on_disk()
        self._listeners = (*self._listeners, listener)

    def __contains__(self, number: str | int) -> bool:
        """Whether the number is blocked now, for any scope.

        Raises:
            InvalidNumber: it is not a telephone number.
            NotSynced: there is no verified generation yet.
            Stale: the list is past its expiry, or this machine's clock is known to be behind, and the list was opened
                with ``when_stale="raise"``.
        """
        # As few steps as can be: this is asked for every message and every call.
        fast = self._current.fast_path
        if fast.start <= times.clock() < fast.stop:
            is_blocked, read = fast.is_blocked, fast.read  # as locals they are quicker to call
            answer = is_blocked(number if type(number) is int else read(number))
            if answer is not None:
                return answer
        return self._contains(number)

    def _contains(self, number: str | int) -> bool:
        """The same from the number's rule and rows, after a look at the disk if one is due."""
        e164 = self._read(number)
        generation = self._current.generation()[0]
        rule = self._current.rules().of(e164, times.now())
        if rule is not None:
            return rule[0] == "override-block"
        return generation.blocks(e164, times.to_ms(times.now()))

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """What to do about a number, now, and why.

        Args:
            number: a text as people write numbers, or an E.164 integer.
            scope: count the entries of this scope only.

        Raises:
            InvalidNumber: it is not a telephone number.
            InvalidInput: `scope` is unknown.
            NotSynced: there is no verified generation yet.
            Stale: the list is past its expiry, or this machine's clock is known to be behind, and the list was opened
                with ``when_stale="raise"``.
        """
        verdict = self._verdict(number, scope)
        self._current.warn_of_rare_scope(scope)
        return verdict

    def _verdict(self, number: str | int, scope: Scope | None) -> Verdict:
        check_scope(scope)
        e164 = self._read(number)
        generation, expires = self._current.generation()
        now = times.now()
        entries = tuple(generation.covering(e164))
        rule = self._current.rules().of(e164, now)
        level: Level | None
        reason: Reason
        if rule is not None:
            reason, override = rule
            level = "block" if reason == "override-block" else None
        else:
            override = None
            asked = [entry for entry in entries if scope is None or scope in entry.scope]
            level, reason = decide(asked, now, published=generation.about.published_at)
        return Verdict(
            number=e164,
            blocked=level == "block",
            level=level,
            reason=reason,
            entries=entries,
            feed=self.feed,
            serial=generation.about.serial,
            as_of=generation.about.published_at,
            stale=is_past(expires, now),
            override=override,
            scope_listed=generation.lists_scope(scope),
            era=generation.about.era,
            clock_behind_s=self._current.clock_behind_s(now),
        )

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id.

        Raises:
            InvalidNumber: it is not a telephone number.
            NotSynced, Stale: as for `check`.
        """
        return self._current.generation()[0].covering(self._read(number))

    def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """Answer for a whole column of numbers, row for row.

        Args:
            column: strings or integers, nulls included: anything that speaks Arrow's PyCapsule protocol, such as a
                pyarrow array, a Polars series, a pandas series (from 3.0) or a DuckDB result of one column. An integer
                is read as the text of its digits. The column decides how digits without a plus are read, unless the
                list was opened with a form: see `blocklist_sdk.numbers.decide_form`.
            scope: count the entries of this scope only.

        Returns:
            A `pyarrow.Table` with as many rows as the column: ``number`` (E.164 as int64), ``blocked``, ``level``,
            ``category`` (of the entry that decides) and ``reason``. Rows that are not numbers are null in every column;
            ``table.column("number").null_count`` counts them. They raise no error.

        Raises:
            InvalidInput: the column is of another type, or `scope` is unknown.
            NotSynced, Stale: as for `check`.
        """
        return self.screening(scope=scope).table(column)

    def screening(self, *, scope: Scope | None = None) -> "Screening":
        """Keep the release in force as it is now, to screen a stream of columns against it.

        Raises:
            InvalidInput: `scope` is unknown.
            NotSynced, Stale: as for `check`.
        """
        screening = self._screening(scope)
        self._current.warn_of_rare_scope(scope)
        return screening

    def _screening(self, scope: Scope | None, at: datetime | None = None) -> "Screening":
        from blocklist_sdk.recipient.screening.columns import Screening

        check_scope(scope)
        (generation, expires), now = self._current.generation(), at or times.now()
        return Screening(
            generation,
            self._current.rules().at(now),
            region=self.region,
            form=self.form,
            scope=scope,
            at=now,
            expires=expires,
            stale=is_past(expires, now),
            clock_behind_s=self._current.clock_behind_s(now),
        )

    def to_arrow(self) -> "ArrowTable":
        """The whole list as a `pyarrow.Table` with the columns of a snapshot, sorted by number.

        Raises:
            NotSynced, Stale: as for `check`.
        """
        from blocklist_sdk.release.arrow import to_table

        table: ArrowTable = to_table(self._current.generation()[0].rows)
        return table

    def status(self) -> Status:
        """The state of the list. Does not raise `NotSynced`: the fields are then None."""
        return self._internals.status()

    def changes(self, *, since: int | None, era: int | None = None) -> "Changes":
        """What differs between an earlier release and the one in force, whatever came in between.

        Args:
            since: the earlier release's serial, which must still be on this disk (see `hold`); None to start from an
                empty list, so that every entry was added.
            era: the era of that release; None for the era in force, or if it has no such release on this disk, for the
                only other one that has.

        Raises:
            InvalidInput: that release is no longer on this disk, or several eras have such a serial.
            NotSynced, Stale: as for `check`.
        """
        return self._internals.changes(since, era)

    def hold(self, name: str, serial: int, *, era: int | None = None) -> None:
        """Keep a release on disk until the same name holds another one, so that `changes` can start from it.

        Args:
            name: who needs it, for instance a sink.
            serial: the release.
            era: its era; None as for `changes`.

        Raises:
            InvalidInput: the name is empty, or that release is not on this disk.
            Locked: another process is writing the list's own database.
            StorageFailed: the local disk failed.
        """
        internals = self._internals.on_disk()
        release = internals.named(serial, era)
        if release is None:
            raise InvalidInput(f"release {serial!r} of feed {self.feed!r} is not on this disk: it cannot be held")
        internals.holds.put(name, release)

    def release_hold(self, name: str) -> bool:
        """End a hold; False if nothing was held under that name. Raises `Locked` and `StorageFailed` as `hold` does."""
        return self._internals.on_disk().holds.drop(name)

    def explain(self, number: str | int, *, scope: Scope | None = None) -> Explanation:
        """How a number is read, and everything that decides on it.

        Arguments and errors are as for `check`.
        """
        from blocklist_sdk.numbers.forms import other_reading

        verdict = self.check(number, scope=scope)
        return Explanation(
            text=str(number),
            number=verdict.number,
            region=self.region,
            other_number=other_reading(number, region=self.region, form=self.form),
            is_valid=_is_valid(verdict.number),
            operator=operator_of(verdict.number),
            brand=brand_of(verdict.number),
            verdict=verdict,
            signers=self._current.generation()[0].about.signers,
        )

    def verify(self) -> Verification:
        """Check the generation in force: every byte, the digest, and the signatures from the pinned root down.

        Needs no network.

        Raises:
            NotSynced, Stale: as for `check`.
        """
        return self._internals.verify()

    def audit_record(self) -> "AuditRecord":
        """Every audit head that was seen here in a verified index, and which releases contradict each other.

        An exchange signs with each release how many lines its audit trail has, and the hash of the last one. A head
        that was once seen shows later whether lines before it were changed. The record outlives a wiped cache; nothing
        removes a head from it.

        Raises:
            StorageFailed: the record cannot be read.
        """
        from blocklist_sdk.recipient.audit import record_of

        return record_of(self._internals.seen_audit_heads())

    def is_synced(self) -> bool:
        """Whether there is a verified generation on this machine."""
        if self._current.opened is None:
            self._current.reload(wait=True)
        return self._current.opened is not None


def internals_of(blocklist: Blocklist) -> Internals:
    """What a list in a cache is made of, for other parts of this library.

    Raises:
        InvalidInput: it is a bundle.
    """
    return blocklist._internals.on_disk()


def asked_internals_of(blocklist: Blocklist) -> AskedInternals:
    """What answers the questions to a list, in a cache or in a bundle, for other parts of this library."""
    return blocklist._internals


def verdict_of(blocklist: Blocklist, number: str | int, *, scope: Scope | None) -> Verdict:
    """Do as `Blocklist.check` does, for `Blocklists`: nothing is logged, since another feed may have the scope."""
    return blocklist._verdict(number, scope)


def level_path_of(blocklist: Blocklist, scope: Scope | None) -> LevelPath | None:
    """What answers most questions about the level of a number, for servers; None where `check` has to be asked.

    Ask for it before each batch of questions: it is valid for a moment only.

    Raises:
        InvalidInput, NotSynced, Stale: as for `Blocklist.check`.
    """
    if scope is not None:
        check_scope(scope)
    return blocklist._current.level_path(scope)


def number_of(blocklist: Blocklist, text: str) -> int:
    """Read a text as the list reads what it is asked.

    Raises:
        InvalidNumber: it is not a telephone number.
    """
    return blocklist._read(text)


def screening_of(blocklist: Blocklist, *, scope: Scope | None, at: datetime | None = None) -> "Screening":
    """Do as `Blocklist.screening` does, for `Blocklists` and jobs: nothing is logged, as in `verdict_of`.

    Args:
        blocklist: the list.
        scope: count the entries of this scope only.
        at: the moment as of which it answers; None for now.
    """
    return blocklist._screening(scope, at)


def _is_valid(number: int) -> bool:
    try:
        normalizer(None, strict=True)(f"+{number}")
    except InvalidNumber:
        return False
    return True
