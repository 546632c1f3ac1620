"""Processes for `multiprocessing` that are forked from one that has imported the package, so that each starts at once.

That one is an interpreter of its own, started for the first of them: nothing of the tests' process gets into theirs, as
with "spawn", which imports everything anew in each.
"""

import functools
import multiprocessing
from multiprocessing.context import ForkServerContext


@functools.cache
def quick_processes() -> ForkServerContext:
    """The context that has them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "blocklist_sdk.publisher.publisher",
            "blocklist_sdk.recipient.blocklist",
            "blocklist_sdk.recipient.sync.run",
            "blocklist_sdk.enforcement.run",
            "blocklist_sdk.exchange_server.serving",
        ]
    )
    return context
