"""Enforcement: a list's changes carried into the recipient's own systems, and what came of them."""
