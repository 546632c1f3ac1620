"""Releases as they stand, verified, on the recipient's disk."""
