"""Secrets of accounts are hashed in no time, from here on in this process: nobody guesses at those of a test."""

from argon2 import PasswordHasher

from blocklist_sdk.exchange_server.casework import accounts

IN_EARNEST = accounts._HASHER
"""What hashes outside of tests."""

accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
accounts._NOBODY = accounts._HASHER.hash("nobody's")  # type: ignore[misc]
