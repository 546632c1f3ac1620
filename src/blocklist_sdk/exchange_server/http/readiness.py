"""Whether an exchange is ready: whether it can take requests, and publish what lifts blocks."""

import os

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.floors import Floors


def reason_not_ready(exchange: Exchange, floors: Floors) -> str | None:
    """Why an exchange is not ready; None if it is.

    Anyone may read this, so it names what is wrong, and nothing of what errors say.
    """
    try:
        exchange.database.check()
        overdue = exchange.publishing_overdue()
    except BlocklistError as error:
        return f"the database cannot be used ({type(error).__name__})"
    try:
        exchange.publisher.protected()
    except BlocklistError as error:
        return f"the repository cannot be read ({type(error).__name__})"
    if exchange.keys.is_dir() and not os.access(exchange.keys, os.R_OK | os.X_OK):
        return "the publisher's keys cannot be read"
    try:
        free, floor = floors.free_bytes(), floors.floors["publishing"]
    except BlocklistError as error:
        return f"the disk cannot be read ({type(error).__name__})"
    if free < floor:
        return f"the disk has {free // 1_000_000:,} MB left, and publishing needs {floor // 1_000_000:,} MB"
    return overdue
