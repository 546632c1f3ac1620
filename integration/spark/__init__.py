"""Spark Classic and Spark Connect, on this machine; `make integration-spark` runs these tests, since Spark is an extra."""
