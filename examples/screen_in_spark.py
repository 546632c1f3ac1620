"""Screen a DataFrame of Spark against a bundle, here on two cores of this machine.

Needs the extra `spark`, and Java 17 or later. On a cluster only the session differs: the workers need the package
`blocklist-sdk`, and get the bundle through Spark. The numbers are generated; they are nobody's.
"""

import os
import secrets
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 -- as everybody does

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.spark import with_verdicts

USERS = 20_000


def make_bundle(folder: Path) -> tuple[Path, Path]:
    """Publish a list, sync it, and write the bundle: what a job of its own does each day."""
    (folder / "list.csv").write_text("number\n" + "".join(f"+62812{number:08d}\n" for number in range(0, USERS, 10)))
    publisher = Publisher.init(folder / "authority", feeds=["id-all"], passphrase=secrets.token_urlsafe())
    publisher.release("id-all", folder / "list.csv")
    with Blocklist.open(
        publisher.repository.as_uri(), feed="id-all", root=publisher.root, cache_dir=folder / "cache"
    ) as blocklist:
        blocklist.sync()
        blocklist.bundle(folder / "list.bundle")
    return folder / "list.bundle", publisher.root


def main(folder: Path) -> None:
    """Screen generated users, and write those that are blocked."""
    bundle, root = make_bundle(folder)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the workers' Python has the package as well
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        users = spark.range(USERS).select(
            "id", F.format_string("0812-%04d-%04d", F.expr("id div 10000"), F.expr("id % 10000")).alias("msisdn")
        )
        answered = with_verdicts(users, "msisdn", bundle, root=root, region="ID", ship=True)
        blocked = answered.where("blocklist_blocked").select("id", "blocklist_number", "blocklist_serial")
        blocked.write.parquet(str(folder / "blocked"))
        count = spark.read.parquet(str(folder / "blocked")).count()
    finally:
        spark.stop()
    print(f"{count:,} of {USERS:,} users are blocked")
    assert count == USERS // 10


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
