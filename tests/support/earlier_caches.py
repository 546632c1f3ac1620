"""Caches as versions wrote them whose digest was that of the columns."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.recipient.cache.generation import About
from blocklist_sdk.recipient.cache.lookup import ANSWER_FILES, write_answers
from blocklist_sdk.recipient.cache.ranges import range_table
from blocklist_sdk.recipient.cache.state import load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.release.arrow_files import describe, rows_to_table, write_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.rows import Rows


def write_earlier(
    directory: Path, rows: Rows, about: About, signed: Mapping[str, bytes], *, format_version: int = 2
) -> None:
    """Write a generation of format 1 or 2: each file but the rows with one hash, and neither a tree nor an overlay."""
    directory.mkdir(parents=True)
    write_answers(directory, rows, published_ms=times.to_ms(about.published_at))
    write_table(range_table(rows), directory / "ranges.arrow")
    write_table(rows_to_table(rows), directory / "rows.arrow")
    answers = *ANSWER_FILES, "ranges.arrow"
    document = {
        "format": format_version,
        **asdict(about),
        "published_at": about.published_at.isoformat(),
        "files": {name: describe(directory / name) for name in (*answers, "rows.arrow")},
        "hashes": {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in answers},
    }
    (directory / "about.json").write_text(json.dumps(document))
    for name, data in signed.items():
        (directory / name).write_bytes(data)


def as_written_earlier(cache: Path, state_file: Path) -> str:
    """Make a feed's cache and state what an earlier version would have written; returns the digest that it knew."""
    store = Store(cache)
    opened = store.open()
    assert opened is not None
    generation, expires = opened
    assert expires is not None
    by_columns = digest(generation.rows, "columns")
    name = "000000000001-1-0e0e0e0e"
    rows = generation.rows.take(np.arange(len(generation.rows)))
    signed = generation.all_signed()
    for path in (cache / "generations").iterdir():
        shutil.rmtree(path)
    write_earlier(cache / "generations" / name, rows, replace(generation.about, digest=by_columns), signed)
    store.switch(name, expires)
    save_state(state_file, replace(load_state(state_file), highest_digest=by_columns, scrub=None))
    return by_columns
