"""Hashes secrets of accounts in no time, from here on in this process: there is nothing to guess in a test."""

from argon2 import PasswordHasher

from blocklist_sdk.exchange_server.casework import accounts

REAL_HASHER = accounts._HASHER
"""What hashes outside of tests."""

accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
accounts._DUMMY_HASH = accounts._HASHER.hash("nobody's")  # type: ignore[misc]
