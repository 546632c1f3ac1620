"""What the doctor looks at: the settings, as far as they can be read, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.arguments import directories
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.settings.values import CONFIG_NAME, Settings

REQUIRED = ("url", "feed", "root")


@dataclass(frozen=True, slots=True)
class Patient:
    """A recipient's set-up.

    Attributes:
        given: settings of flags and the environment alone.
        settings: with those of the file, if it can be read.
        fault: why the file cannot be used; None if it can, or is not there.
        sinks: URLs of sinks.
        sink_name: the name of the ledger that belongs to a sink.
        is_offline: whether the network is left alone.
    """

    given: Settings
    settings: Settings
    fault: InvalidInput | None = None
    sinks: Sequence[str] = ()
    sink_name: str = "default"
    is_offline: bool = False

    @classmethod
    def of(
        cls, given: Settings, *, sinks: Sequence[str] = (), sink_name: str = "default", is_offline: bool = False
    ) -> "Patient":
        """Read the settings; that they cannot be read is a finding and no error."""
        try:
            settings, fault = given.complete(), None
        except InvalidInput as error:
            settings, fault = given, error
        return cls(given, settings, fault, sinks, sink_name, is_offline)

    @property
    def file(self) -> Path:
        """The settings file that was looked for."""
        return Path(self.given.config or CONFIG_NAME)

    @property
    def missing(self) -> tuple[str, ...]:
        """Required settings that are nowhere."""
        return tuple(name for name in REQUIRED if getattr(self.settings, name) is None)

    @property
    def url(self) -> str:
        """The repository; empty if it is not known."""
        return self.settings.url or ""

    @property
    def is_remote(self) -> bool:
        """Whether the repository is on the network."""
        return self.url.lower().startswith(("http:", "https:"))

    @property
    def has_proof(self) -> bool:
        """Whether the account's secret or key can be read, if the repository is asked with an account."""
        try:
            self.settings.repository_auth()
        except InvalidInput:
            return False
        return True

    @property
    def is_url(self) -> bool:
        """Whether the repository's address has a host and a port that can be used."""
        try:
            parts = urlsplit(self.url)
            return bool(parts.hostname) and parts.port != 0 if self.is_remote else True
        except ValueError:
            return False

    def directories(self) -> tuple[Path, Path] | None:
        """The feed's cache and state; None if it is not known which.

        Raises:
            InvalidInput: the settings do not lead to directories.
        """
        settings = self.settings
        if settings.url is None or settings.feed is None:
            return None
        cache, state = directories(settings.url, settings.cache_dir, settings.state_dir)
        return cache / settings.feed, state / settings.feed

    def blocklist(self) -> Blocklist | None:
        """The list; None if settings are missing. Numbers of its own are not read: they are a check of their own.

        Raises:
            InvalidInput: it cannot be opened.
        """
        settings = self.settings
        if settings.url is None or settings.feed is None or settings.root is None:
            return None
        return Blocklist.open(
            settings.url,
            feed=settings.feed,
            root=settings.root,
            cache_dir=settings.cache_dir,
            state_dir=settings.state_dir,
        )
