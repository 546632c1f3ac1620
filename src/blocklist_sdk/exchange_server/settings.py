"""An exchange's settings: `exchange.toml` in its folder."""

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from limits import parse_many
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import EVIDENCE_BYTES_MAX
from blocklist_sdk.net.oauth import token_url_of
from blocklist_sdk.numbers.reference import check_region

FILE: Final = "exchange.toml"

_SETTINGS_BYTES_MAX: Final = 1_000_000


def _rate(text: str) -> str:
    rates = parse_many(text)
    if len(rates) > 1:
        raise ValueError("give one rate only, such as 30/minute")
    if rates[0].amount < 1:
        raise ValueError("the rate must allow at least one request")
    return text


def _address(url: str) -> str:
    token_url_of(url)
    if "@" in url:
        raise ValueError("leave the credentials out of the URL")
    return url.rstrip("/")


Rate = Annotated[str, AfterValidator(_rate)]
Floor = Annotated[int, Field(ge=0, le=10**15)]


class ExchangeSettings(BaseModel):
    """An exchange's settings; docs/reference/exchange-settings.md explains them to those who run one.

    Attributes:
        region: two-letter code of the country whose numbers are domestic, and in which national numbers are read.
        url: where clients reach the exchange. Signed assertions must be made out to it; without it, they work on this
            machine only.
        database: URL for SQLAlchemy; a relative SQLite path is relative to the folder. It is not shown, since it may
            hold a password.
        issuer: the issuer in all entries.
        two_person: whether a second officer has to confirm decisions that list a number, and retractions of many.
        retractions_alone: how many numbers an officer may retract alone in a day.
        retractions_share: the same as a share of the numbers listed; the smaller of the two counts.
        open_appeals: most open appeals of one account.
        max_recycled: the share of a feed's listed numbers that one recipient may retract in a day by saying that they
            were recycled. What is more waits for an officer.
        min_recycled: so many numbers may always be retracted in this way.
        max_ended: the share of the listings that may end in one run of the publisher. What is more waits until a person
            says that the clock is right.
        min_ended: so many listings may always end.
        decide_within_h: how long officers have to decide a complete case, hours.
        listing_days: how long a listing lasts if its decision does not say, days.
        cycle_day: day of the month, UTC, on which routine decisions are published.
        max_added: the share of a feed's blocked numbers that one release may begin to block; 1 means that the list may
            double. What is more waits for an officer.
        min_added: so many numbers may always begin to be blocked.
        token_s: how long an access token is valid, seconds.
        evidence_bytes: longest evidence file, bytes.
        evidence_files: most files of one report or appeal.
        evidence_total: most bytes of evidence that one account may have stored.
        public_rate: most look-ups of numbers from one address, or from one IPv6 network of 48 bits, and most by one
            account; all processes of the exchange count together, as with the next five.
        report_quota: most reports of one account, single or in bulks.
        receipt_quota: most receipts of one account.
        page_quota: most rows that one account may read in pages; each page costs ten more.
        appeal_quota: most appeals of one account.
        evidence_quota: most bytes of files that one account may send.
        token_rate: most tokens of one account at one address; and most refused requests for one, of which all accounts
            at one address together may send ten times as many. Refused requests never count against a valid one.
        account_rate: most requests of one account to one process, whatever they ask for.
        unbound_accounts: with mutual TLS, whether an account that is bound to no client certificate may be used with
            any certificate of the authority.
        evidence_floor: disk space that files of evidence leave free, bytes.
        report_floor: disk space that reports and appeals leave free as well, bytes.
        decision_floor: disk space that receipts, and decisions other than retractions, leave free, bytes.
        publishing_floor: disk space that everything else leaves free for publishing, bytes; with less the exchange says
            that it is not ready.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    region: Annotated[str, AfterValidator(check_region)] = "ID"
    url: Annotated[str, AfterValidator(_address)] | None = None
    database: Annotated[str, Field(repr=False)] = "sqlite:///exchange.sqlite"
    issuer: Annotated[str, Field(min_length=1, max_length=64)] = "authority"
    two_person: bool = True
    retractions_alone: Annotated[int, Field(ge=1, le=10**6)] = 20
    retractions_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    open_appeals: Annotated[int, Field(ge=1, le=10**6)] = 200
    max_recycled: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_recycled: Annotated[int, Field(ge=0, le=10**6)] = 50
    max_ended: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_ended: Annotated[int, Field(ge=0, le=10**9)] = 20
    decide_within_h: Annotated[float, Field(gt=0, le=8760)] = 24
    listing_days: Annotated[int, Field(ge=1, le=3650)] = 180
    cycle_day: Annotated[int, Field(ge=1, le=28)] = 1
    max_added: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    min_added: Annotated[int, Field(ge=0, le=10**12)] = 1_000
    token_s: Annotated[int, Field(ge=60, le=86_400)] = 900
    evidence_bytes: Annotated[int, Field(ge=1, le=EVIDENCE_BYTES_MAX)] = EVIDENCE_BYTES_MAX
    evidence_files: Annotated[int, Field(ge=1, le=100)] = 10
    evidence_total: Annotated[int, Field(ge=1, le=10**15)] = 200_000_000_000
    public_rate: Rate = "30/minute"
    report_quota: Rate = "30000/minute"
    receipt_quota: Rate = "600000/minute"
    page_quota: Rate = "60000/minute"
    appeal_quota: Rate = "1000/day"
    evidence_quota: Rate = "2000000000/day"
    token_rate: Rate = "60/minute"  # noqa: S105
    account_rate: Rate = "30000/minute"
    unbound_accounts: bool = False
    evidence_floor: Floor = 1_000_000_000
    report_floor: Floor = 500_000_000
    decision_floor: Floor = 250_000_000
    publishing_floor: Floor = 100_000_000

    @model_validator(mode="after")
    def _floors_fall(self) -> "ExchangeSettings":
        floors = (self.evidence_floor, self.report_floor, self.decision_floor, self.publishing_floor)
        if list(floors) != sorted(floors, reverse=True):
            raise ValueError(
                "the floors must not rise from evidence_floor over report_floor and decision_floor to publishing_floor"
            )
        return self

    @property
    def decide_within(self) -> timedelta:
        """How long officers have to decide a complete case."""
        return timedelta(hours=self.decide_within_h)

    @property
    def listing(self) -> timedelta:
        """How long a listing lasts if its decision does not say."""
        return timedelta(days=self.listing_days)

    @classmethod
    def load(cls, directory: Path) -> "ExchangeSettings":
        """Read the settings of an exchange's folder.

        Raises:
            InvalidInput: it is not an exchange's folder, or its settings cannot be used.
        """
        file = directory / FILE
        if not file.is_file():
            raise InvalidInput(f"{directory} is not an exchange's folder: make one with `blocklist exchange init`")
        try:
            with file.open("rb") as opened:
                text = decoded(opened.read(_SETTINGS_BYTES_MAX), str(file))
            return cls.of(tomllib.loads(text))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the settings in {file} cannot be used: {error}") from error

    @classmethod
    def of(cls, document: dict[str, Any]) -> "ExchangeSettings":
        """Settings from plain values.

        Raises:
            InvalidInput: a value cannot be used.
        """
        try:
            return cls(**document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{field}: {first['msg']}") from error

    def to_toml(self) -> str:
        """The settings as the text of their file."""
        lines = ["# The exchange's settings. What each means: docs/reference/exchange-settings.md", ""]
        for name, value in self.model_dump(exclude_none=True).items():
            shown = (
                str(value).lower() if isinstance(value, bool | int | float) else json.dumps(value, ensure_ascii=False)
            )
            lines.append(f"{name} = {shown}")
        return "\n".join(lines) + "\n"
