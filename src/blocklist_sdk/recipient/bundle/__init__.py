"""Bundles: one file with a verified release, the metadata that proves it, and protected numbers; opened read-only."""
