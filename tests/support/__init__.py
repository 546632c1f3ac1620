"""Helpers of the tests: worlds, servers, clocks, kills."""
