"""Hashes of secrets from before are verified in no time, from here on in this process: in a test nobody guesses."""

from argon2 import PasswordHasher

from blocklist_sdk.exchange_server.casework import secret_hashes

REAL_HASHER = secret_hashes._HASHER
"""What hashes outside of tests."""

secret_hashes._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
