"""Who still needs an older release, so that it is not deleted."""

from collections.abc import Iterable

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.cache.local_database import LocalDatabase
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId


class Holds:
    """Names, and the release that each needs. May be shared by threads and processes.

    Methods raise `Locked`, `Malformed` or `StorageFailed` if the database cannot be used.
    """

    def __init__(self, database: LocalDatabase) -> None:
        """Takes the database to keep them in."""
        self._database = database

    def put(self, name: str, release: ReleaseId) -> None:
        """Hold a release under a name, instead of the one that was held so far.

        Raises:
            InvalidInput: the name is empty, or the serial is not one.
        """
        if not isinstance(name, str) or not name.strip() or type(release.serial) is not int or release.serial < 1:
            raise InvalidInput("a hold needs a name, and the serial of a release")
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO holds (name, serial, era) VALUES (?, ?, ?)",
                (name, release.serial, release.era),
            )

    def drop(self, name: str) -> bool:
        """End a hold; False if nothing was held under that name."""
        with self._database.writing() as connection:
            return connection.execute("DELETE FROM holds WHERE name = ?", (name,)).rowcount > 0

    def load(self, on_disk: Iterable[ReleaseId]) -> dict[str, ReleaseId]:
        """The release that each name holds.

        Args:
            on_disk: the releases on this disk, newest first: a hold that was made before eras were known is of the
                oldest one with its serial.
        """
        found = self._database.read("SELECT name, era, serial FROM holds ORDER BY name")
        of_serial = {release.serial: release for release in on_disk}
        return {
            name: of_serial.get(serial, ReleaseId(FIRST_ERA, serial)) if era is None else ReleaseId(era, serial)
            for name, era, serial in found
        }
