"""Spark Classic and Spark Connect on this machine; Spark is an extra, so `make integration-spark` runs these tests."""
