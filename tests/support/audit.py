"""Whether a recipient answers from one whole release, and from which."""

import random
from collections.abc import Collection, Mapping

from blocklist_sdk import Blocklist
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.digest import digest

Lists = Mapping[int, Collection[str]]
"""The numbers of each release, by serial."""

SPOTS = 40


def audited(recipient: Blocklist, lists: Lists, *, chance: random.Random) -> int:
    """The serial in force, once every row and some answers have been compared with the list of that serial."""
    status = recipient.status()
    assert status.serial is not None
    listed = lists[status.serial]
    rows = from_table(recipient.to_arrow())
    assert digest(rows) == status.digest
    assert rows.number.tolist() == sorted(int(number[1:]) for number in listed)
    overridden = {override.number for override in recipient.overrides}
    others = {number for each in lists.values() for number in each} - set(listed)
    for numbers, is_listed in ((listed, True), (others, False)):
        for number in chance.sample(sorted(numbers), min(SPOTS, len(numbers))):
            if int(number[1:]) not in overridden:
                assert (number in recipient) is is_listed
                verdict = recipient.check(number)
                assert (verdict.blocked, verdict.serial) == (is_listed, status.serial)
    return status.serial
