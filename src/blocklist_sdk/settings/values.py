"""Settings: what is given explicitly > ``BLOCKLIST_*`` environment > ``blocklist.toml`` > defaults.

`Settings.from_environment` reads the environment, and `Settings.complete` adds the file. Each setting is declared once,
as a field of `Settings`: its flag, variable, name in the file and line in ``docs/reference/settings.md`` follow from
that.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput, concerning
from blocklist_sdk.modes import Access, access
from blocklist_sdk.net.addresses import read_url
from blocklist_sdk.places import absolute, expanded
from blocklist_sdk.settings.limits import Limit, count, growth, period, share
from blocklist_sdk.settings.secret_files import credential, first_line, read_secret, warn_if_readable
from blocklist_sdk.settings.setting_places import file_place

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt

CONFIG_NAME: Final = "blocklist.toml"
"""The settings file that is read from the working directory unless another one is named."""

SECRET_VARIABLE: Final = "BLOCKLIST_CLIENT_SECRET"  # noqa: S105 -- its name
"""The variable for an account's secret. There is no flag for it, since other users see command lines."""

SINK_PASSWORD_VARIABLE: Final = "BLOCKLIST_SINK_PASSWORD"  # noqa: S105 -- its name
"""The variable for a sink's password, which the sink itself reads. It goes before the service manager and the file."""

_CONFIG_BYTES_MAX: Final = 1_000_000
"""Far more than all settings need."""

_KEY_BYTES_MAX: Final = 100_000
"""Far more than a private key of any kind needs, which is a few thousand."""

_PROOFS: Final = ("client_secret", "client_secret_file", "client_key")
"""The ways in which an account proves itself, of which it needs exactly one."""


def _setting(group: str | None, metavar: str, meaning: str, limit: Limit | None = None) -> Any:
    """A setting with a flag.

    Args:
        group: the commands that take it: "list", "server", "files", "sink", "statement", a guard's command, or None if
            it is none of these.
        metavar: a word for its value; FILE and DIR are paths, which in a settings file are relative to its folder.
        meaning: its help.
        limit: how its text is read, if it is a guard's limit.
    """
    return field(default=None, metadata={"group": group, "metavar": metavar, "help": meaning, "limit": limit})


def _limit(guard: str, limit: Limit, meaning: str) -> Any:
    """A limit of a guard, which has the name of the command, and behind it that of the guard's own attribute."""
    return _setting(guard, limit.metavar, f"{meaning}; by default {limit.default}.", limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of settings, None for each that is not given."""

    url: str | None = _setting("list", "URL", "The repository: https:, http: or file:.")
    feed: str | None = _setting("list", "NAME", "The feed's name.")
    root: str | None = _setting("list", "FILE", "The authority's root.json, got by a way you trust.")
    region: str | None = _setting(
        "list", "REGION", "Two-letter country code for national numbers; without it only international ones are read."
    )
    form: str | None = _setting(
        "list",
        "FORM",
        "How digits without + are read: international (country code first) or national; auto, the default, decides for "
        "whole columns.",
    )
    cache_dir: str | None = _setting("list", "DIR", "For verified lists; by default in the user's cache directory.")
    state_dir: str | None = _setting(
        "list",
        "DIR",
        "For what must survive a wiped cache; by default CACHE_DIR/.state, or without CACHE_DIR in the user's state "
        "directory.",
    )
    protected: str | None = _setting(
        "list", "FILE", "Numbers of your own that are never blocked: a number, range or pattern on each line."
    )
    bundle: str | None = _setting(
        "bundle", "FILE", "Ask this bundle, made by blocklist bundle; url, cache_dir and state_dir are not used then."
    )
    bundle_overrides: str | None = _setting(
        "bundle",
        "WORD",
        "count or ignore, the default: whether the overrides in the bundle count. Nobody signs them, so with count "
        "whoever can write the file decides.",
    )
    bundle_min_release: str | None = _setting(
        "bundle",
        "RELEASE",
        "The oldest release that is taken from a bundle: nothing else shows that somebody put an older bundle in the "
        "place of yours. Give the era as well, 2.41: a bare 41 is compared within the bundle's own era.",
    )
    group: str | None = _setting(
        "files",
        "GROUP",
        "The group that may read the cache and the overrides, and what is written for other programs: by name or "
        "number; by default your own group, and the overrides are private.",
    )
    file_mode: str | None = _setting(
        "files",
        "MODE",
        "The mode of these files, such as 0644; by default 0640. Keys, ledgers and other private files have 0600.",
    )
    exchange: str | None = _setting(
        "server", "URL", "The exchange: https: or http:. By default the repository's server is asked for tokens."
    )
    client_id: str | None = _setting("server", "ID", "Your account at the exchange; without it no token is asked for.")
    client_secret: str | None = field(default=None, repr=False, metadata={"help": "The account's secret itself."})
    client_secret_file: str | None = _setting(
        "server",
        "FILE",
        f"The account's secret, on the first line; or set {SECRET_VARIABLE}, or client_secret in the settings file.",
    )
    client_key: str | None = _setting(
        "server", "FILE", "The account's private key (PEM, P-256 or Ed25519), instead of a secret."
    )
    client_cert: str | None = _setting(
        "server", "FILE", "Your own TLS certificate and its key (PEM), if the server asks for one."
    )
    ca: str | None = _setting(
        "server",
        "FILE",
        "Certificates (PEM) of the authorities that may sign the server's, and no others then; by default the "
        "operating system's, or those of SSL_CERT_FILE and SSL_CERT_DIR.",
    )
    sink_password_file: str | None = _setting(
        "sink",
        "FILE",
        "The sink's password, on the first line; or set BLOCKLIST_SINK_PASSWORD. Either keeps it out of the URL, "
        "which other users see in the list of processes.",
    )
    organisation: str | None = _setting(
        "statement", "TEXT", "Whose monthly statement it is; the page leaves the line out without it."
    )
    contact: str | None = _setting(
        "statement", "TEXT", "Whom to ask about the monthly statement; the page leaves the line out without it."
    )
    publish_max_removed: str | None = _limit(
        "publish", share("10%"), "The publisher's guard: the share of the blocked numbers that may cease to be blocked"
    )
    publish_min_removed: str | None = _limit(
        "publish", count(20), "The publisher's guard: so many numbers may always cease to be blocked"
    )
    publish_max_added: str | None = _limit(
        "publish", growth("100%"), "The publisher's guard: as much of the blocked numbers may begin to be blocked"
    )
    publish_min_added: str | None = _limit(
        "publish", count(1_000), "The publisher's guard: so many numbers may always begin to be blocked"
    )
    sync_max_removed: str | None = _limit(
        "sync", share("25%"), "The recipient's guard: the share of the blocked numbers that may cease to be blocked"
    )
    sync_min_removed: str | None = _limit(
        "sync", count(100), "The recipient's guard: so many numbers may always cease to be blocked"
    )
    sync_max_added: str | None = _limit(
        "sync", growth("100%"), "The recipient's guard: as much of the blocked numbers may begin to be blocked"
    )
    sync_min_added: str | None = _limit(
        "sync", count(1_000), "The recipient's guard: so many numbers may always begin to be blocked"
    )
    sync_max_cover: str | None = _limit(
        "sync", count(1_000_000), "The recipient's guard: how many assigned numbers one entry may cover"
    )
    sync_max_first_cover: str | None = _limit(
        "sync",
        count(20_000_000),
        "The recipient's guard: how many assigned numbers all ranges of a first release may cover",
    )
    sync_max_rows: str | None = _limit(
        "sync", count(500_000_000), "How many rows a release may have; one with more is not downloaded"
    )
    sync_deadline: str | None = _limit(
        "sync",
        period("an hour, and what the files take at 16 kB a second"),
        "How long all downloads of a sync may take together",
    )
    enforce_max_removed: str | None = _limit(
        "enforce", share("10%"), "The share of what the sink holds that a run may lift without an explanation"
    )
    enforce_min_removed: str | None = _limit(
        "enforce", count(20), "So many items a run may always lift without an explanation"
    )
    enforce_max_added: str | None = _limit(
        "enforce", growth("10%"), "As much of what the sink holds a run may add without an explanation"
    )
    enforce_min_added: str | None = _limit(
        "enforce", count(20), "So many items a run may always add without an explanation"
    )
    config: str | None = _setting(
        None, "FILE", f"A file with these settings; by default {CONFIG_NAME} in the working directory, if it exists."
    )

    places: Any = field(default_factory=dict, repr=False, compare=False)
    """Where each of the values was found, for messages; a mapping of texts."""

    @classmethod
    def from_environment(cls) -> Self:
        """The settings that the environment has; an empty variable counts as not set.

        Raises:
            InvalidInput: a limit in it is not one.
        """
        names = (*NAMES, "config")
        given = {name: text for name in names if name != "client_secret" and (text := os.environ.get(variable(name)))}
        for name, text in given.items():
            if limit := _LIMITS.get(name):
                limit.read(text, where=f"{variable(name)} in the environment")
        return cls(**given, places={name: f"{variable(name)} in the environment" for name in given})

    def access(self) -> Access:
        """Who may read what is written for other programs; settings that are missing come from the file.

        Raises:
            InvalidInput: there is no such group, this user is not in it, or the mode cannot be used.
        """
        settings = self.complete()
        return access(settings.group, settings.file_mode)

    def limits(self, guard: str) -> dict[str, float]:
        """The limits of a guard that are set, by the names of its attributes; those of the file must be there already.

        Args:
            guard: its command: ``publish``, ``sync`` or ``enforce``.
        """
        return {
            name.removeprefix(f"{guard}_"): _LIMITS[name].read(text)
            for name in LIMITS[guard]
            if (text := getattr(self, name)) is not None
        }

    def complete(self, required: tuple[str, ...] = (), *, by_flag: bool = True) -> Self:
        """Add what is missing from the file, and check that the required settings are there.

        Args:
            required: names of settings.
            by_flag: whether settings are given as flags, for the message; otherwise as arguments of a function.

        Raises:
            InvalidInput: a required setting is missing, or the file cannot be used.
        """
        file = read_config(None if self.config is None else Path(self.config))
        given = self
        # A file that was named on the command line or in the environment wins over the secret in the environment.
        if given.client_secret_file is None and (secret := os.environ.get(SECRET_VARIABLE)):
            place = f"{SECRET_VARIABLE} in the environment"
            given = replace(given, client_secret=secret, places={**given.places, "client_secret": place})
        given = given._without_other_proofs()._with_credentials()
        if given.sink_password_file is None and os.environ.get(SINK_PASSWORD_VARIABLE):
            # The sink finds it there by itself.
            file = replace(file, sink_password_file=None)
        # A key on the command line must not meet a secret of the file: the proof comes from one place as a whole.
        if any(getattr(given, name) is not None for name in _PROOFS):
            file = replace(file, **dict.fromkeys(_PROOFS))
        from_file = [name for name in NAMES if getattr(given, name) is None and getattr(file, name) is not None]
        places = {**{name: file.places[name] for name in from_file}, **given.places}
        settings = replace(given, places=places, **{name: getattr(file, name) for name in from_file})
        missing = [name for name in required if getattr(settings, name) is None]
        if missing:
            lines = ", ".join(f'{name} = "…"' for name in missing)
            given_as = " ".join(f"{flag(name)} …" if by_flag else f"{name}=…" for name in missing)
            raise InvalidInput(
                f"missing {' and '.join(missing)}: give {given_as}, or set "
                f"{' '.join(f'{variable(name)}=…' for name in missing)} in the environment, "
                f"or write {lines} into {CONFIG_NAME}"
            )
        return settings

    def bundle_overrides_count(self) -> bool:
        """Whether the overrides in the bundle count.

        Raises:
            InvalidInput: the setting is another word than count or ignore.
        """
        if self.bundle_overrides not in (None, "count", "ignore"):
            raise InvalidInput(
                f"bundle_overrides must be count or ignore, not {self.bundle_overrides!r}", argument="bundle_overrides"
            )
        return self.bundle_overrides == "count"

    def repository_auth(self) -> "ClientCredentials | PrivateKeyJwt | None":
        """How to get tokens for the repository; None without an account, or if the repository is on this disk.

        Raises:
            InvalidInput: as for `auth`.
        """
        return None if (self.url or "").lower().startswith("file:") else self.auth()

    def _without_other_proofs(self) -> Self:
        """A proof that was given by a flag goes before those of the environment, of whatever kind they are."""
        given = [name for name in _PROOFS if getattr(self, name) is not None]
        of_environment = [name for name in given if self.places.get(name) == f"{variable(name)} in the environment"]
        return self if of_environment == given else replace(self, **dict.fromkeys(of_environment))

    def _with_credentials(self) -> Self:
        """Add the secrets that the service manager has put at hand: they go before the file, and after all else."""
        found: dict[str, str] = {}
        if all(getattr(self, name) is None for name in _PROOFS):
            for name, known_as in (("client_key", "client_key"), ("client_secret_file", "client_secret")):
                if (path := credential(known_as)) is not None:
                    found[name] = str(path)
        if self.client_cert is None and (path := credential("client_cert")) is not None:
            found["client_cert"] = str(path)
        has_password = self.sink_password_file is not None or os.environ.get(SINK_PASSWORD_VARIABLE)
        if not has_password and (path := credential("sink_password")) is not None:
            found["sink_password_file"] = str(path)
        places = {name: f"the service's credential {Path(path).name}" for name, path in found.items()}
        return replace(self, **found, places={**self.places, **places})

    def auth(self) -> "ClientCredentials | PrivateKeyJwt | None":
        """How to get tokens; None without an account, or for a repository on this disk.

        Raises:
            InvalidInput: the account's proof is missing, given twice, or cannot be used.
        """
        if self.client_id is None:
            return None
        address = self.exchange or self.url or ""
        if address.startswith("file:"):
            return None
        proofs = [name for name in _PROOFS if getattr(self, name) is not None]
        if len(proofs) != 1:
            raise InvalidInput(
                f"client_id needs exactly one of client_secret_file, client_key and {SECRET_VARIABLE}; "
                f"given: {' and '.join(self.places.get(name, name) for name in proofs) or 'none'}",
                argument="client_id",
            )
        from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt

        if self.client_key is not None:
            with concerning("client_key"):
                key = read_secret(Path(self.client_key), "key file", _KEY_BYTES_MAX)
            return PrivateKeyJwt.for_exchange(address, self.client_id, key)
        secret = self.client_secret
        if self.client_secret_file is not None:
            with concerning("client_secret_file"):
                secret = first_line(Path(self.client_secret_file), "client secret")
        assert secret is not None
        return ClientCredentials.for_exchange(address, self.client_id, secret)

    def sink_options(self, url: str) -> dict[str, Any]:
        """The options of `open_sink` that complete settings have; what the sink's URL says goes before them.

        Args:
            url: the sink's URL.

        Raises:
            InvalidInput: the file with the password cannot be read or is empty, or the URL cannot be read.
        """
        options: dict[str, Any] = {"password": None}
        is_directory = url[:5].lower() == "file:"
        # A directory has none; the settings may be those of several sinks.
        if self.sink_password_file is not None and not is_directory:
            with concerning("sink_password_file"):
                options["password"] = first_line(Path(self.sink_password_file), "sink password")
        if is_directory:
            said = {name for name, _ in read_url(url, what="the sink's URL", example="file:/srv/blocklist").options}
            given = {name: getattr(self, name) for name in FILES if name not in said}
            options |= {name: value for name, value in given.items() if value is not None}
        return options

    def tls(self) -> "ssl.SSLContext | None":
        """Which servers to trust, and the own certificate; None for the usual ones.

        Raises:
            InvalidInput: a file cannot be used.
        """
        if self.ca is None and self.client_cert is None:
            return None
        from blocklist_sdk.net.tls import tls_context

        with concerning("ca" if self.ca is not None else "client_cert"):
            context = tls_context(ca=self.ca)
        if self.client_cert is None:
            return context
        with concerning("client_cert"):
            return tls_context(ca=self.ca, client_cert=self.client_cert)


_FIELDS: Final = {each.name: each for each in fields(Settings) if each.metadata}

NAMES: Final = tuple(name for name in _FIELDS if name != "config")
"""The names that a settings file may have. All but `client_secret` have a flag as well."""

LIST: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "list")
"""Settings of commands that look something up in a list on this machine."""

BUNDLE: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "bundle")
"""Settings of commands that look something up in a bundle as well."""

SERVER: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "server")
"""Settings of commands that ask a server."""

SINK: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "sink")
"""Settings of commands that use a sink."""

FILES: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "files")
"""Settings of commands that write files which other programs may read."""

STATEMENT: Final = tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == "statement")
"""Settings of the month's statement."""

LIMITS: Final = {
    guard: tuple(name for name, each in _FIELDS.items() if each.metadata.get("group") == guard)
    for guard in ("publish", "sync", "enforce")
}
"""Limits of the guards, by the command that asks the guard. In that command their flags leave its name out."""

_LIMITS: Final[dict[str, Limit]] = {
    name: _FIELDS[name].metadata["limit"] for names in LIMITS.values() for name in names
}

REPOSITORY: Final = ("url", "root")
"""Settings of commands that are about a whole repository, and not about one feed."""


def meaning_of(name: str) -> str:
    """What a setting means, as its help says it.

    >>> meaning_of("feed")
    "The feed's name."
    """
    text: str = _FIELDS[name].metadata["help"]
    return text


def metavar_of(name: str) -> str | None:
    """A word for a setting's value; FILE and DIR are paths. None for the one setting without a flag."""
    metavar: str | None = _FIELDS[name].metadata.get("metavar")
    return metavar


def limit_of(name: str) -> Limit | None:
    """How a setting's text is read, if it is a guard's limit."""
    return _LIMITS.get(name)


def flag(name: str, guard: str | None = None) -> str:
    """The flag of a setting, such as ``--cache-dir``.

    Args:
        name: the setting.
        guard: the guard that the command asks: its limits are called without its name.
    """
    own = name.removeprefix(f"{guard}_") if guard and name in LIMITS[guard] else name
    return f"--{own.replace('_', '-')}"


def variable(name: str) -> str:
    """The environment variable of a setting, such as ``BLOCKLIST_CACHE_DIR``."""
    return f"BLOCKLIST_{name.upper()}"


def holds_secret(settings: Mapping[str, Any]) -> bool:
    """Whether settings must be read by their user alone: they have a secret, or a password in an address.

    >>> holds_secret({"url": "https://me:secret@lists.example"}), holds_secret({"url": "https://lists.example/a%40b"})
    (True, False)
    """
    from blocklist_sdk.net.addresses import may_have_secret

    addresses = (str(settings.get("url") or ""), str(settings.get("exchange") or ""))
    return settings.get("client_secret") is not None or any(map(may_have_secret, addresses))


def read_config(path: Path | None) -> Settings:
    """Read settings from a TOML file; relative paths in it are relative to its folder.

    Args:
        path: the file; None for `CONFIG_NAME` in the working directory, which need not exist.

    Raises:
        InvalidInput: it cannot be read, is not TOML, or has a name that is not a setting's; or nobody has named it, and
            another user has put it where everybody may.
    """
    file = path or Path(CONFIG_NAME)
    try:
        text, status = _text_of(file)
        if path is None:
            _check_owner(file, status)
    except FileNotFoundError as error:
        if path is None:
            return Settings()
        raise InvalidInput(f"the settings file {file} does not exist: correct --config or BLOCKLIST_CONFIG") from error
    except OSError as error:
        raise InvalidInput(f"cannot read the settings file {file}: {error.strerror or error}") from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the settings file {file} is not TOML: {error}") from error
    unknown = sorted(set(document) - set(NAMES))
    if unknown:
        raise InvalidInput(
            f"the settings file {file} sets {', '.join(unknown)}, but the settings are {', '.join(NAMES)}"
        )
    if holds_secret(document):
        warn_if_readable(file, status, "a secret")
    places = {name: file_place(name, file, text) for name in document}
    for name, value in document.items():
        if not isinstance(value, str) or not value or "\0" in value:
            raise InvalidInput(f'{places[name]} must be text in quotes, such as {name} = "…"')
        if limit := _LIMITS.get(name):
            limit.read(value, where=places[name])
        if _FIELDS[name].metadata.get("metavar") in ("FILE", "DIR"):
            document[name] = str(file.parent / expanded(value, what=places[name]))
    return Settings(**document, places=places)


def _check_owner(file: Path, status: os.stat_result) -> None:
    """Refuse a settings file that nobody has named, if a stranger may have put it into the working directory.

    Settings decide what is trusted. In a folder such as ``/tmp`` anybody can lay some for whoever comes along.
    """
    owners = {status.st_uid, os.lstat(file).st_uid}
    if os.stat(file.parent).st_mode & stat.S_IWOTH and not owners <= {0, os.geteuid()}:
        raise InvalidInput(
            f"{absolute(file)} was made by another user, in a folder where everybody may write, so it was not read: "
            "work in another folder, or name the settings file with --config or BLOCKLIST_CONFIG if you trust it"
        )


def _text_of(file: Path) -> tuple[str, os.stat_result]:
    """Read a settings file, but no device or pipe: it may have no end, or never begin."""
    if file.exists() and not file.is_file():
        raise InvalidInput(f"the settings file {file} is not a regular file: give another one with --config")
    with file.open("rb") as opened:
        data = opened.read(_CONFIG_BYTES_MAX + 1)
        status = os.fstat(opened.fileno())
    if len(data) > _CONFIG_BYTES_MAX:
        raise InvalidInput(f"the settings file {file} has more than {_CONFIG_BYTES_MAX:,} bytes: give another one")
    return decoded(data, f"the settings file {file}"), status
