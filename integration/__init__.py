"""Tests with neighbours: programs of others that ask a list, or read what this library writes.

`make integration` runs them. They are apart from `tests/`, which need nothing but Python, PostgreSQL and Redis. A test
whose neighbour is not installed is skipped, with the reason; with ``BLOCKLIST_INTEGRATION_REQUIRED=1`` it fails.
`docs/maintainers/integration.md` says what each neighbour is and how to install it.
"""
