"""An exchange's settings: `exchange.toml` in its folder."""

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from limits import parse_many
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import EVIDENCE_BYTES_MAX
from blocklist_sdk.net.oauth import token_url_of
from blocklist_sdk.numbers.reference import check_region

FILE: Final = "exchange.toml"

_SETTINGS_BYTES_MAX: Final = 1_000_000


def _rate(text: str) -> str:
    rates = parse_many(text)
    if len(rates) > 1:
        raise ValueError("it is more than one rate")
    if rates[0].amount < 1:
        raise ValueError("it lets nobody in")
    return text


def _address(url: str) -> str:
    token_url_of(url)
    if "@" in url:
        raise ValueError("it holds credentials: leave them out")
    return url.rstrip("/")


Rate = Annotated[str, AfterValidator(_rate)]


class ExchangeSettings(BaseModel):
    """What an authority decides about its exchange; docs/reference/exchange-settings.md has them for those who run one.

    Attributes:
        region: two-letter country code in which national numbers are read, and that is domestic.
        url: where clients reach it. Assertions have to be made out to it; where it is not set, accounts can use them on
            this machine only.
        database: SQLAlchemy's URL; a relative SQLite path is relative to the folder. It may hold a password, and is
            not shown.
        issuer: who decides, as entries say it.
        two_person: whether another officer has to confirm what blocks.
        decide_within_h: how long officers have for a complete case, hours.
        listing_days: how long a listing holds unless its decision says otherwise, days.
        cycle_day: the day of the month, UTC, on which routine decisions are published.
        token_s: how long an access token holds, seconds.
        evidence_bytes: of one file, at most.
        evidence_files: of one report or appeal, at most.
        public_rate: of look-ups without an account, for one address.
        token_rate: of asking for tokens, for one client at one address; ten times as often for all clients there.
        account_rate: of everything else, for one account.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Annotated[str, AfterValidator(check_region)] = "ID"
    url: Annotated[str, AfterValidator(_address)] | None = None
    database: Annotated[str, Field(repr=False)] = "sqlite:///exchange.sqlite"
    issuer: Annotated[str, Field(min_length=1, max_length=64)] = "authority"
    two_person: bool = False
    decide_within_h: Annotated[float, Field(gt=0, le=8760)] = 24
    listing_days: Annotated[int, Field(ge=1, le=3650)] = 180
    cycle_day: Annotated[int, Field(ge=1, le=28)] = 1
    token_s: Annotated[int, Field(ge=60, le=86_400)] = 900
    evidence_bytes: Annotated[int, Field(ge=1, le=EVIDENCE_BYTES_MAX)] = EVIDENCE_BYTES_MAX
    evidence_files: Annotated[int, Field(ge=1, le=100)] = 10
    public_rate: Rate = "30/minute"
    token_rate: Rate = "60/minute"  # noqa: S105
    account_rate: Rate = "30000/minute"

    @property
    def decide_within(self) -> timedelta:
        """How long officers have for a complete case."""
        return timedelta(hours=self.decide_within_h)

    @property
    def listing(self) -> timedelta:
        """How long a listing holds unless its decision says otherwise."""
        return timedelta(days=self.listing_days)

    @classmethod
    def load(cls, directory: Path) -> "ExchangeSettings":
        """Read them.

        Raises:
            InvalidInput: it is no exchange's folder, or the file cannot be used.
        """
        file = directory / FILE
        if not file.is_file():
            raise InvalidInput(f"{directory} is no exchange's folder: make one with `blocklist exchange init`")
        try:
            with file.open("rb") as opened:
                text = opened.read(_SETTINGS_BYTES_MAX).decode()
            return cls.of(tomllib.loads(text))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the settings in {file} cannot be used: {error}") from error

    @classmethod
    def of(cls, document: dict[str, Any]) -> "ExchangeSettings":
        """From plain values.

        Raises:
            InvalidInput: one cannot be used.
        """
        try:
            return cls(**document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{place}: {first['msg']}") from error

    def to_toml(self) -> str:
        """As the file has them."""
        lines = ["# The exchange's settings. What each means: docs/reference/exchange-settings.md", ""]
        for name, value in self.model_dump(exclude_none=True).items():
            shown = (
                str(value).lower() if isinstance(value, bool | int | float) else json.dumps(value, ensure_ascii=False)
            )
            lines.append(f"{name} = {shown}")
        return "\n".join(lines) + "\n"
