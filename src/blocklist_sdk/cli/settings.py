"""Settings common to the recipient's commands: flags > ``BLOCKLIST_*`` environment > ``blocklist.toml`` > defaults.

Typer reads flags and the environment, in that order; the file comes in here. Which settings a command takes, `takes`
says; what each option is stands here once.
"""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from blocklist_sdk.cli.secret_files import first_line, read_secret
from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.exchange.client import ExchangeClient
    from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt
    from blocklist_sdk.recipient.blocklist import Blocklist

T = TypeVar("T")

CONFIG_NAME: Final = "blocklist.toml"
"""Read from the working directory unless another file is named."""

_CONFIG_BYTES_MAX: Final = 1_000_000
"""Far more than all settings need."""

SECRET_VARIABLE: Final = "BLOCKLIST_CLIENT_SECRET"  # noqa: S105
"""Where the client's secret may stand. It has no flag, since other users see command lines."""

_PATHS = ("root", "cache_dir", "state_dir", "protected", "client_secret_file", "client_key", "client_cert", "ca")
_REQUIRED = ("url", "feed", "root")
SOURCE: Final = ("url", "root")
"""What commands need that are about a repository, and not about one feed."""

_EXCHANGE = ("exchange",)
_PROOFS = ("client_secret", "client_secret_file", "client_key")
_KEY_BYTES_MAX: Final = 100_000
"""A private key of any kind has a few thousand at most."""

_PANEL = "Settings"


def _setting(name: str, metavar: str, meaning: str) -> Any:
    """A setting's option, and the variable that it stands for."""
    return Annotated[
        str | None,
        typer.Option(
            f"--{name.replace('_', '-')}",
            envvar=f"BLOCKLIST_{name.upper()}",
            metavar=metavar,
            rich_help_panel=_PANEL,
            help=meaning,
        ),
    ]


_OPTIONS: Final = {
    "url": _setting("url", "URL", "The repository: https:, http: or file:."),
    "feed": _setting("feed", "NAME", "The feed's name."),
    "root": _setting("root", "FILE", "The authority's root.json, got by a way you trust."),
    "region": _setting(
        "region",
        "REGION",
        "Two-letter country code in which national numbers are read; without it only international ones.",
    ),
    "cache_dir": _setting(
        "cache_dir", "DIR", "Where verified lists are kept; by default in the user's cache directory."
    ),
    "state_dir": _setting(
        "state_dir",
        "DIR",
        "What must survive a wiped cache; by default CACHE_DIR/.state if a cache directory is given, or else in the "
        "user's state directory.",
    ),
    "protected": _setting("protected", "FILE", "Numbers of your own that are never blocked, one a line."),
    "exchange": _setting(
        "exchange", "URL", "The exchange: https: or http:. By default tokens are fetched where the repository is."
    ),
    "client_id": _setting("client_id", "ID", "Your account at the exchange; without it nobody asks for a token."),
    "client_secret_file": _setting(
        "client_secret_file",
        "FILE",
        f"The account's secret, on the first line; or set {SECRET_VARIABLE}, or client_secret in the settings file.",
    ),
    "client_key": _setting(
        "client_key", "FILE", "In place of a secret: the account's private key as PEM, on P-256 or Ed25519."
    ),
    "client_cert": _setting(
        "client_cert", "FILE", "Your own TLS certificate and its key as PEM, where the server asks for one."
    ),
    "ca": _setting("ca", "FILE", "The authorities as PEM that sign the server's certificate; by default public ones."),
    "config": _setting(
        "config",
        "FILE",
        f"A file with these settings; by default {CONFIG_NAME} of the working directory, if there is one.",
    ),
}

LIST: Final = ("url", "feed", "root", "region", "cache_dir", "state_dir", "protected")
"""What commands take that ask a list on this machine."""

CREDENTIALS: Final = ("exchange", "client_id", "client_secret_file", "client_key", "client_cert", "ca")
"""What commands take that ask a server."""


def takes(*names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the options of these settings and ``--config``; it gets them as one argument, `settings`."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(command, eval_str=True)
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_OPTIONS[name])
            for name in (*names, "config")
        ]

        @functools.wraps(command)
        def run(**values: Any) -> T:
            settings = Settings(**{each.name: values.pop(each.name) for each in added})
            return command(settings=settings, **values)

        parameters = [*(each for each in own.parameters.values() if each.name != "settings"), *added]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What commands need to know; each of their options of that name, or None.

    Attributes:
        url: the repository's base URL.
        feed: the feed's name.
        root: file with the authority's root metadata.
        region: CLDR region in which national numbers are read.
        cache_dir: where generations are kept.
        state_dir: what must survive a wiped cache.
        protected: file with the recipient's own protected numbers.
        exchange: the exchange's base URL.
        client_id: the account there.
        client_secret: its secret; from the settings file only.
        client_secret_file: or the file that has it.
        client_key: or file with its private key.
        client_cert: file with a TLS certificate and its key.
        ca: file with the authorities that servers' certificates are checked against.
        config: the file that the rest comes from, None for `CONFIG_NAME` in the working directory, if there is one.
    """

    url: str | None = None
    feed: str | None = None
    root: str | None = None
    region: str | None = None
    cache_dir: str | None = None
    state_dir: str | None = None
    protected: str | None = None
    exchange: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_secret_file: str | None = None
    client_key: str | None = None
    client_cert: str | None = None
    ca: str | None = None
    config: str | None = None

    def over(self, other: "Settings") -> "Settings":
        """These settings, and the other's where these have none; how an account proves itself is taken as a whole.

        >>> found = Settings(feed="id-all").over(Settings(feed="id-messaging", region="ID"))
        >>> found.feed, found.region, found.root
        ('id-all', 'ID', None)
        """
        names = set(NAMES) - set(_PROOFS if any(getattr(self, name) for name in _PROOFS) else ())
        return Settings(
            **{name: _first(getattr(self, name), getattr(other, name) if name in names else None) for name in NAMES},
            config=self.config,
        )

    def open(self, *, online: bool = False) -> "Blocklist":
        """Open the list; settings that are missing come from the file.

        Args:
            online: also with what it takes to ask the server: account, certificates.

        Raises:
            InvalidInput: a setting that is needed is missing, or one cannot be used.
        """
        settings = self.complete(_REQUIRED)
        assert settings.url is not None
        assert settings.feed is not None
        assert settings.root is not None
        from blocklist_sdk.recipient.blocklist import Blocklist

        return Blocklist.open(
            settings.url,
            feed=settings.feed,
            root=settings.root,
            region=settings.region,
            cache_dir=settings.cache_dir,
            state_dir=settings.state_dir,
            protected=settings.protected or (),
            auth=settings.auth() if online else None,
            tls=settings.tls() if online else None,
        )

    def client(self) -> "ExchangeClient":
        """A client of the exchange; settings that are missing come from the file.

        Raises:
            InvalidInput: a setting that is needed is missing, or one cannot be used.
        """
        settings = self.complete(_EXCHANGE)
        assert settings.exchange is not None
        from blocklist_sdk.exchange.client import ExchangeClient

        return ExchangeClient(settings.exchange, auth=settings.auth(), tls=settings.tls())

    def complete(self, needed: tuple[str, ...]) -> "Settings":
        """These settings with those of the file.

        Raises:
            InvalidInput: one that is needed is missing, or the file cannot be used.
        """
        file = read_config(Path(self.config) if self.config else None)
        given = self
        # A file of its own was named on the command line, or in the environment next to it.
        if given.client_secret_file is None and (secret := os.environ.get(SECRET_VARIABLE)):
            given = replace(given, client_secret=secret)
        settings = given.over(file)
        missing = [name for name in needed if getattr(settings, name) is None]
        if missing:
            raise InvalidInput(_how_to_set(missing))
        return settings

    def auth(self) -> "ClientCredentials | PrivateKeyJwt | None":
        """How to ask for tokens; None where there is no account, or no server to ask.

        Raises:
            InvalidInput: what proves the account is missing or there twice, or cannot be used.
        """
        if self.client_id is None:
            return None
        address = self.exchange or self.url or ""
        if address.startswith("file:"):
            return None
        proofs = [name for name in _PROOFS if getattr(self, name) is not None]
        if len(proofs) != 1:
            raise InvalidInput(
                f"client_id needs one of client_secret_file, client_key and {SECRET_VARIABLE} beside it, but there "
                f"{'are ' + ' and '.join(proofs) if proofs else 'is none'}"
            )
        from blocklist_sdk.net.oauth import ClientCredentials, PrivateKeyJwt, token_url_of

        token_url = token_url_of(address)
        if self.client_key is not None:
            key = read_secret(Path(self.client_key), "key file", _KEY_BYTES_MAX)
            return PrivateKeyJwt(self.client_id, key, token_url=token_url)
        secret = self.client_secret
        if self.client_secret_file is not None:
            secret = first_line(Path(self.client_secret_file), "client secret")
        assert secret is not None
        return ClientCredentials(self.client_id, secret, token_url=token_url)

    def tls(self) -> "ssl.SSLContext | None":
        """Whom to trust and how to show oneself; None for what is usual.

        Raises:
            InvalidInput: a file cannot be used.
        """
        if self.ca is None and self.client_cert is None:
            return None
        from blocklist_sdk.net.tls import tls_context

        return tls_context(ca=self.ca, client_cert=self.client_cert)


def check_output(output: Path, blocklist: "Blocklist") -> None:
    """Keep a file that is about to be written away from the list's own files.

    Raises:
        InvalidInput: it is in the cache or the state of the list.
    """
    from blocklist_sdk.recipient.internals import internals_of

    target = output.resolve()
    for folder in internals_of(blocklist).directories:
        if target.is_relative_to(folder.resolve()):
            raise InvalidInput(f"{output} is among the list's own files in {folder}: name one elsewhere")


NAMES: Final = tuple(each.name for each in fields(Settings) if each.name != "config")
"""What may stand in the file. All but `client_secret` are options as well."""


def read_config(path: Path | None) -> Settings:
    """Settings from a TOML file; relative paths in it are relative to where it stands.

    Args:
        path: the file; None for `CONFIG_NAME` in the working directory, which need not exist.

    Raises:
        InvalidInput: it cannot be read, is no TOML, or sets something that is not a setting.
    """
    file = path or Path(CONFIG_NAME)
    try:
        text = _text_of(file)
    except FileNotFoundError as error:
        if path is None:
            return Settings()
        raise InvalidInput(f"there is no settings file {file}: correct --config or BLOCKLIST_CONFIG") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the settings file {file}: {error}") from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the settings file {file} is no TOML: {error}") from error
    unknown = sorted(set(document) - set(NAMES))
    if unknown:
        raise InvalidInput(
            f"the settings file {file} sets {', '.join(unknown)}, but the settings are {', '.join(NAMES)}"
        )
    for name, value in document.items():
        if not isinstance(value, str) or not value or "\0" in value:
            raise InvalidInput(f'{name} in the settings file {file} must be a text in quotes, such as {name} = "…"')
        if name in _PATHS:
            document[name] = str(file.parent / _expanded(value, name, file))
    return Settings(**document)


def _text_of(file: Path) -> str:
    """A settings file's text; devices and pipes may have no end, or never begin."""
    if file.exists() and not file.is_file():
        raise InvalidInput(f"the settings file {file} is no regular file: name one with --config")
    with file.open("rb") as opened:
        data = opened.read(_CONFIG_BYTES_MAX + 1)
    if len(data) > _CONFIG_BYTES_MAX:
        raise InvalidInput(f"the settings file {file} has more than {_CONFIG_BYTES_MAX:,} bytes: name another one")
    return data.decode()


def _expanded(value: str, name: str, file: Path) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{name} in the settings file {file} is {value!r}, but there is no such user") from error


def _first(one: str | None, other: str | None) -> str | None:
    return other if one is None else one


def _how_to_set(missing: list[str]) -> str:
    """Every way to give the settings that are missing."""
    flags = " ".join(f"--{name.replace('_', '-')} …" for name in missing)
    variables = " ".join(f"BLOCKLIST_{name.upper()}=…" for name in missing)
    lines = ", ".join(f'{name} = "…"' for name in missing)
    return (
        f"missing {' and '.join(missing)}: give {flags}, or set {variables} in the environment, "
        f"or write {lines} into {CONFIG_NAME}"
    )
