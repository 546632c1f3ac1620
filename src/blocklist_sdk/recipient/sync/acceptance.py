"""A person's word that one list may come into force although the guard refuses it. Pure."""

from dataclasses import dataclass
from typing import Self

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.release.digest_kinds import is_digest, kind_of
from blocklist_sdk.release.release_id import ReleaseId


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Names one list.

    Attributes:
        serial: the release's serial.
        digest: its digest, whole: a publisher can make two lists whose digests begin alike, and show one and sign the
            other. None for the one that was refused on this machine before.
        era: its era; None for any.
    """

    serial: int
    digest: str | None = None
    era: int | None = None

    @classmethod
    def of(cls, given: int | str) -> Self:
        """Read what a person gives: a serial, or SERIAL:DIGEST, each with its era or without.

        Raises:
            InvalidInput: it is neither.

        >>> Acceptance.of(4), Acceptance.of("7.4:" + "0" * 64).era
        (Acceptance(serial=4, digest=None, era=None), 7)
        """
        name, colon, digest = str(given).lower().partition(":")
        try:
            if isinstance(given, bool) or (colon and not is_digest(digest)):
                raise InvalidInput("it is no list")
            era, serial = ReleaseId.parse(name)
        except InvalidInput as error:
            raise InvalidInput(
                f"accept names a list: the serial of a release that was refused on this machine, such as 4, or "
                f"SERIAL:DIGEST, as the refusal has it, with the whole digest; not {given!r}"
            ) from error
        return cls(serial, digest or None, era)

    def __str__(self) -> str:
        name = str(self.serial) if self.era is None else f"{self.era}.{self.serial}"
        return name if self.digest is None else f"{name}:{self.digest}"

    def takes(self, release: ReleaseId, digest: str, *, refused_digest: str | None) -> bool:
        """Whether it names that list.

        Args:
            release: the release that is offered.
            digest: its digest.
            refused_digest: the digest of that release as it was refused on this machine; None if it was not.
        """
        if self.serial != release.serial or self.era not in (None, release.era):
            return False
        return digest == (refused_digest if self.digest is None else self.digest)

    def why_not(self, release: ReleaseId, digest: str) -> str:
        """Why it does not take the list that is offered, in a sentence."""
        if self.serial != release.serial or self.era not in (None, release.era):
            return f"accept={self} is for another release than {release}."
        if self.digest is None:
            return (
                "This list was not refused on this machine before, so its serial alone does not let it in: look at it "
                "first, then repeat."
            )
        if kind_of(self.digest) != kind_of(digest):
            return (
                f"accept={self} names a list by a digest of another kind than the one that is signed now, and the two "
                f"cannot be compared: this list has the digest {digest}."
            )
        return f"accept={self} is for another list under the same serial: this one has the digest {digest}."


def acceptance_text(release: ReleaseId, digest: str) -> str:
    """What to type to let that list in on any machine."""
    return f"{release}:{digest}"
