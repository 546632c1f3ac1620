"""The options of commands for settings: flags > ``BLOCKLIST_*`` environment > ``blocklist.toml`` > defaults.

Typer reads flags and the environment; `Settings.complete` adds the file. The settings themselves, and how the file is
read, are in `blocklist_sdk.settings.values`, where the library finds them as well.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from blocklist_sdk.errors import InvalidInput, concerning
from blocklist_sdk.places import resolved
from blocklist_sdk.settings import values
from blocklist_sdk.settings.setting_places import placing
from blocklist_sdk.settings.values import BUNDLE as BUNDLE
from blocklist_sdk.settings.values import FILES as FILES
from blocklist_sdk.settings.values import LIMITS as LIMITS
from blocklist_sdk.settings.values import LIST as LIST
from blocklist_sdk.settings.values import NAMES as NAMES
from blocklist_sdk.settings.values import REPOSITORY as REPOSITORY
from blocklist_sdk.settings.values import SERVER as SERVER
from blocklist_sdk.settings.values import SINK as SINK
from blocklist_sdk.settings.values import STATEMENT as STATEMENT
from blocklist_sdk.settings.values import flag as flag
from blocklist_sdk.settings.values import limit_of, meaning_of, metavar_of
from blocklist_sdk.settings.values import variable as variable

if TYPE_CHECKING:
    from blocklist_sdk.exchange.client import ExchangeClient
    from blocklist_sdk.recipient.blocklist import Blocklist

T = TypeVar("T")

_CONTEXT: Final = "parsed"
"""The argument of a command in which typer says where values come from."""

PANEL: Final = "Settings"
"""The panel of a command's help that shows its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(values.Settings):
    """The settings of a command, and what it opens with them."""

    def open(self, *, online: bool = False, writes: bool = False, requires_fresh: bool = False) -> "Blocklist":
        """Open the list; settings that are missing come from the file.

        Args:
            online: also use what is needed to ask the server: account and certificates.
            writes: also use what only matters to what is written: group and mode.
            requires_fresh: whether questions past the list's signed expiry raise `Stale`.

        Raises:
            InvalidInput: a required setting is missing, or one cannot be used.
        """
        from blocklist_sdk.recipient.blocklist import Blocklist
        from blocklist_sdk.recipient.from_settings import ListArguments, open_arguments

        settings = self.complete(("url", "feed", "root"))
        given: ListArguments = {"when_stale": "raise"} if requires_fresh else {}
        return Blocklist.open(**open_arguments(settings, given, online=online, writes=online or writes))

    def open_to_ask(self, *, online: bool = False, requires_fresh: bool = False) -> "Blocklist":
        """Open the bundle if there is one, else the list in the cache; settings that are missing come from the file.

        Args:
            online: as for `open`.
            requires_fresh: the same.

        Raises:
            InvalidInput: a required setting is missing, one cannot be used, or a flag is about a cache and there is a
                bundle.
            Untrusted: the bundle is not as it was signed.
        """
        from blocklist_sdk.recipient.blocklist import Blocklist
        from blocklist_sdk.recipient.from_settings import ListArguments, bundle_arguments

        settings = self.complete()
        if settings.bundle is None:
            useless = [flag(name) for name in BUNDLE if self.places.get(name) == flag(name)]
            if useless:
                raise InvalidInput(f"{' and '.join(useless)}: there is no bundle: give --bundle", argument="bundle")
            return self.open(online=online, requires_fresh=requires_fresh)
        useless = [flag(name) for name in ("url", "cache_dir", "state_dir") if self.places.get(name) == flag(name)]
        if useless:
            raise InvalidInput(
                f"{' and '.join(useless)} and the bundle {settings.bundle} contradict each other: leave one of them "
                "out",
                argument="bundle",
            )
        given: ListArguments = {"when_stale": "raise"} if requires_fresh else {}
        return Blocklist.open_bundle(**bundle_arguments(self.complete(("root",)), given))

    def client(self) -> "ExchangeClient":
        """Make a client of the exchange; settings that are missing come from the file.

        Raises:
            InvalidInput: a required setting is missing, or one cannot be used.
        """
        settings = self.complete(("exchange",))
        assert settings.exchange is not None
        from blocklist_sdk.exchange.client import ExchangeClient

        with settings.placing(), concerning("exchange"):
            return ExchangeClient(settings.exchange, auth=settings.auth(), tls=settings.tls())

    def placing(self) -> contextlib.AbstractContextManager[None]:
        """Say in errors about a setting where its value was found."""
        return placing(lambda: self.complete().places)


def with_settings(
    *names: str, guard: str | None = None, reads_file: bool = True
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the options of these settings and ``--config``; it gets them as one argument, `settings`.

    Args:
        names: the settings.
        guard: the guard that the command asks, whose limits it takes as well.
        reads_file: whether the command reads a settings file; otherwise it has no ``--config``.
    """
    names = (*names, *(LIMITS[guard] if guard else ()))

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        signature = inspect.signature(command, eval_str=True)
        flags = {name: flag(name, guard) for name in (*names, *(("config",) if reads_file else ()))}
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, its_flag))
            for name, its_flag in flags.items()
        ]

        @functools.wraps(command)
        def run(**values: Any) -> T:
            given = {option.name: values.pop(option.name) for option in options}
            _check_flags(given, flags)
            context = values.get(own_context) if own_context else values.pop(_CONTEXT, None)
            places = {
                name: _given_place(name, flag=its_flag, variable=variable(name), context=context)
                for name, its_flag in flags.items()
                if given[name] is not None
            }
            _check_limits(given, places)
            settings = Settings(**given, places=places)
            with settings.placing():
                return command(settings=settings, **values)

        parameters = [*(each for each in signature.parameters.values() if each.name != "settings"), *options]
        own_context = next((each.name for each in parameters if each.annotation is typer.Context), None)
        if own_context is None:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(_CONTEXT, kind, annotation=typer.Context))
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _given_place(name: str, *, flag: str, variable: str, context: typer.Context | None) -> str:
    """The flag or the variable that gave a setting.

    Args:
        name: the setting.
        flag: its flag.
        variable: its variable in the environment.
        context: where typer keeps what it has parsed; None for a flag.
    """
    source = None if context is None else context.get_parameter_source(name)
    return f"{variable} in the environment" if source is not None and source.name == "ENVIRONMENT" else flag


def _check_flags(given: Mapping[str, str | None], flags: Mapping[str, str]) -> None:
    """Refuse settings without a value, which would win over the file and switch off what it says.

    Typer takes an empty variable of the environment as not set, so an empty value comes from the command line.

    Raises:
        InvalidInput: a setting is empty.
    """
    empty = [flags[name] for name, value in given.items() if value == ""]
    if empty:
        raise InvalidInput(f"{' and '.join(empty)} must not be empty: give a value, or leave it out")


def _check_limits(given: Mapping[str, str | None], places: Mapping[str, str]) -> None:
    """Refuse a text that is not a limit, and say where it is.

    Raises:
        InvalidInput: there is one.
    """
    for name, text in given.items():
        if text is not None and (limit := limit_of(name)):
            limit.read(text, where=places[name])


def _option(name: str, its_flag: str) -> Any:
    """The type of a command's parameter for one setting, as typer reads it."""
    option = typer.Option(
        its_flag,
        envvar=variable(name),
        metavar=metavar_of(name),
        help=meaning_of(name),
        rich_help_panel=PANEL,
    )
    return Annotated[str | None, option]


def check_output(output: Path, blocklist: "Blocklist") -> None:
    """Keep a file that is about to be written away from the list's own files.

    Raises:
        InvalidInput: it is in the cache or the state of the list, or is the bundle that is asked.
    """
    from blocklist_sdk.recipient.blocklist import asked_internals_of

    target = resolved(output)
    for folder in asked_internals_of(blocklist).directories:
        if target.is_relative_to(resolved(folder)):
            raise InvalidInput(f"{output} is among the list's own files in {folder}: give a path elsewhere")
