"""Sync: from a signed repository to a verified generation."""
