"""Settings common to the recipient's commands: flags > ``BLOCKLIST_*`` environment > ``blocklist.toml`` > defaults.

Typer reads flags and the environment, in that order; the file comes in here.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.blocklist import Blocklist

CONFIG_NAME: Final = "blocklist.toml"
"""Read from the working directory unless another file is named."""

_CONFIG_BYTES_MAX: Final = 1_000_000
"""Far more than six settings need."""

_PATHS = ("root", "cache_dir", "state_dir", "protected")
_REQUIRED = ("url", "feed", "root")
_SOURCE = ("url", "root")

_PANEL = "Settings"

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="BLOCKLIST_URL",
        metavar="URL",
        rich_help_panel=_PANEL,
        help="The repository: https:, http: or file:.",
    ),
]
FeedOption = Annotated[
    str | None,
    typer.Option("--feed", envvar="BLOCKLIST_FEED", metavar="NAME", rich_help_panel=_PANEL, help="The feed's name."),
]
RootOption = Annotated[
    str | None,
    typer.Option(
        "--root",
        envvar="BLOCKLIST_ROOT",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="The authority's root.json, got by a way you trust.",
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region",
        envvar="BLOCKLIST_REGION",
        metavar="REGION",
        rich_help_panel=_PANEL,
        help="Two-letter country code in which national numbers are read; without it only international ones.",
    ),
]
CacheDirOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dir",
        envvar="BLOCKLIST_CACHE_DIR",
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="Where verified lists are kept; by default in the user's cache directory.",
    ),
]
StateDirOption = Annotated[
    str | None,
    typer.Option(
        "--state-dir",
        envvar="BLOCKLIST_STATE_DIR",
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="What must survive a wiped cache; by default CACHE_DIR/.state if a cache directory is given, or else in "
        "the user's state directory.",
    ),
]
ProtectedOption = Annotated[
    str | None,
    typer.Option(
        "--protected",
        envvar="BLOCKLIST_PROTECTED",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="Numbers of your own that are never blocked, one a line.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        envvar="BLOCKLIST_CONFIG",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help=f"A file with these settings; by default {CONFIG_NAME} of the working directory, if there is one.",
    ),
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the recipient's commands need to know; each of the commands' options of that name, or None.

    Attributes:
        url: the repository's base URL.
        feed: the feed's name.
        root: file with the authority's root metadata.
        region: CLDR region in which national numbers are read.
        cache_dir: where generations are kept.
        state_dir: what must survive a wiped cache.
        protected: file with the recipient's own protected numbers.
    """

    url: str | None = None
    feed: str | None = None
    root: str | None = None
    region: str | None = None
    cache_dir: str | None = None
    state_dir: str | None = None
    protected: str | None = None

    def over(self, other: "Settings") -> "Settings":
        """These settings, and the other's where these have none.

        >>> Settings(feed="id-all").over(Settings(feed="id-messaging", region="ID"))
        Settings(url=None, feed='id-all', root=None, region='ID', cache_dir=None, state_dir=None, protected=None)
        """
        return Settings(*(_first(getattr(self, name), getattr(other, name)) for name in NAMES))

    def open(self, *, config: str | None) -> "Blocklist":
        """Open the list; settings that are missing come from the file.

        Args:
            config: the file to read, None for `CONFIG_NAME` in the working directory, which need not exist.

        Raises:
            InvalidInput: a setting that is needed is missing, or one cannot be used.
        """
        settings = self._complete(config, needed=_REQUIRED)
        assert settings.url is not None
        assert settings.feed is not None
        assert settings.root is not None
        from blocklist_sdk.blocklist import Blocklist

        return Blocklist.open(
            settings.url,
            feed=settings.feed,
            root=settings.root,
            region=settings.region,
            cache_dir=settings.cache_dir,
            state_dir=settings.state_dir,
            protected=settings.protected or (),
        )

    def source(self, *, config: str | None) -> tuple[str, str]:
        """URL and root, for commands that are not about one feed; those that are missing come from the file.

        Args:
            config: as for `open`.

        Raises:
            InvalidInput: one is missing, or the file cannot be used.
        """
        settings = self._complete(config, needed=_SOURCE)
        assert settings.url is not None
        assert settings.root is not None
        return settings.url, settings.root

    def _complete(self, config: str | None, *, needed: tuple[str, ...]) -> "Settings":
        settings = self.over(read_config(Path(config) if config else None))
        missing = [name for name in needed if getattr(settings, name) is None]
        if missing:
            raise InvalidInput(_how_to_set(missing))
        return settings


def check_output(output: Path, blocklist: "Blocklist") -> None:
    """Keep a file that is about to be written away from the list's own files.

    Raises:
        InvalidInput: it is in the cache or the state of the list.
    """
    target = output.resolve()
    for folder in (blocklist._store.directory, blocklist._state_file.parent):
        if target.is_relative_to(folder.resolve()):
            raise InvalidInput(f"{output} is among the list's own files in {folder}: name one elsewhere")


NAMES: Final = tuple(field.name for field in fields(Settings))


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
    flags = " ".join(f"--{name} …" for name in missing)
    variables = " ".join(f"BLOCKLIST_{name.upper()}=…" for name in missing)
    lines = ", ".join(f'{name} = "…"' for name in missing)
    return (
        f"missing {' and '.join(missing)}: give {flags}, or set {variables} in the environment, "
        f"or write {lines} into {CONFIG_NAME}"
    )
