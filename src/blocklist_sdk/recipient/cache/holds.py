"""Who still needs an older release, so that it is not deleted."""

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.cache.local_database import LocalDatabase


class Holds:
    """Names, and the release that each needs. May be shared by threads and processes.

    Methods raise `Locked`, `Malformed` or `StorageFailed` if the database cannot be used.
    """

    def __init__(self, database: LocalDatabase) -> None:
        """Takes the database to keep them in."""
        self._database = database

    def put(self, name: str, serial: int) -> None:
        """Hold a release under a name, instead of the one that was held so far.

        Raises:
            InvalidInput: the name is empty, or the serial is not one.
        """
        if not isinstance(name, str) or not name.strip() or type(serial) is not int or serial < 1:
            raise InvalidInput("a hold needs a name, and the serial of a release")
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO holds VALUES (?, ?)", (name, serial))

    def drop(self, name: str) -> bool:
        """End a hold; False if nothing was held under that name."""
        with self._database.writing() as connection:
            return connection.execute("DELETE FROM holds WHERE name = ?", (name,)).rowcount > 0

    def load(self) -> dict[str, int]:
        """The serial that each name holds."""
        return {
            name: int(serial) for name, serial in self._database.read("SELECT name, serial FROM holds ORDER BY name")
        }
