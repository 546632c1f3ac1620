"""What is in `docs/protocol/vectors`, beyond the digests; `python -m vectors` in `tests/` makes it anew.

`make vectors` does the same. Signatures are of Ed25519, which always makes the same one of the same bytes, and keys are
made of their names, so whoever runs it gets the same files. All numbers are generated.
"""
