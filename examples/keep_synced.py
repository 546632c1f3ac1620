"""Keep a list synced in the background, hear of every sync, write figures for Prometheus, and end on SIGTERM.

Settings come from the environment: BLOCKLIST_URL, BLOCKLIST_FEED, BLOCKLIST_ROOT, BLOCKLIST_REGION,
BLOCKLIST_CACHE_DIR, BLOCKLIST_STATE_DIR, BLOCKLIST_METRICS_FILE; optional are BLOCKLIST_GROUP, the group of the
programs that ask, and EVERY_S, the seconds between syncs. After failures the waits grow by themselves, to a day at
most.
"""

import logging
import os
import signal
import sys

from blocklist_sdk import Blocklist, BlocklistError
from blocklist_sdk.recipient import SyncOutcome, write_metrics

log = logging.getLogger("keep-synced")


def main() -> int:
    """Sync until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
    # Before any thread begins, so that all of them leave the signals to `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        blocklist = open_list()
    except (KeyError, BlocklistError) as error:
        log.error("%s", f"set {error} in the environment" if isinstance(error, KeyError) else error)
        return 2
    with blocklist:

        def note(outcome: SyncOutcome) -> None:
            """Log a sync, and write the figures; called in the thread that synced."""
            if outcome.result is not None:
                log.info("release %s is in force", outcome.result.after)
            try:
                write_metrics(os.environ["BLOCKLIST_METRICS_FILE"], blocklist.status(), outcome=outcome)
            except BlocklistError as error:
                log.error("the figures were not written: %s", error)

        blocklist.add_listener(note)
        with blocklist.keep_synced(every=float(os.environ.get("EVERY_S", "3600"))):
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
    log.info("ended")
    return 0


def open_list() -> Blocklist:
    """Open the list that the environment names.

    Raises:
        KeyError: a variable is missing.
        InvalidInput: one cannot be used.
    """
    os.environ["BLOCKLIST_METRICS_FILE"]  # now, and not after the first sync
    return Blocklist.open(
        os.environ["BLOCKLIST_URL"],
        feed=os.environ["BLOCKLIST_FEED"],
        root=os.environ["BLOCKLIST_ROOT"],
        region=os.environ["BLOCKLIST_REGION"],
        cache_dir=os.environ["BLOCKLIST_CACHE_DIR"],
        state_dir=os.environ["BLOCKLIST_STATE_DIR"],
        group=os.environ.get("BLOCKLIST_GROUP"),
    )


if __name__ == "__main__":
    sys.exit(main())
