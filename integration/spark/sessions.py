"""Sessions of Spark on two cores of this machine, and their end: no Java process is left."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from integration.neighbours import accepts, free_port, missing, program, running

CORES: Final = 2
STOP_S: Final = 30.0

SETTINGS: Final = {
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "OFF",
    "spark.sql.shuffle.partitions": str(CORES),
    "spark.sql.session.timeZone": "Asia/Jakarta",
}


def need_spark() -> Path:
    """Where Spark is installed; without it, or without Java, tests are skipped, or fail."""
    try:
        import pyspark
    except ImportError:
        missing("pyspark is not installed: make integration-spark installs it")
    program("java", package="Debian's openjdk-17-jre-headless")
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    return Path(pyspark.__file__).parent


@contextlib.contextmanager
def classic(folder: Path) -> Iterator[Any]:
    """A session of Spark Classic, whose Java process has ended afterwards.

    Args:
        folder: for its files.
    """
    need_spark()
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    building = SparkSession.builder.master(f"local[{CORES}]")
    for name, value in (SETTINGS | {"spark.local.dir": str(folder), "spark.sql.warehouse.dir": str(folder)}).items():
        building = building.config(name, value)
    session = building.getOrCreate()
    gateway = SparkContext._gateway
    try:
        yield session
    finally:
        session.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            assert gateway.proc.wait(STOP_S) is not None
        finally:
            gateway.proc.kill()
        SparkContext._gateway = SparkContext._jvm = None


@contextlib.contextmanager
def connect(folder: Path) -> Iterator[Any]:
    """A session of Spark Connect, whose server is a process of its own that has ended afterwards.

    Args:
        folder: for its files.
    """
    home, port = need_spark(), free_port()
    from pyspark.sql import SparkSession

    settings = SETTINGS | {
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
    }
    command: list[str | Path] = [home / "bin" / "spark-submit", "--master", f"local[{CORES}]"]
    command += [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    with running(command, folder=folder, name="spark-connect", ready=lambda: accepts(port)) as server:
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
        try:
            yield session
        finally:
            session.stop()
            os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
    assert not server.is_running
