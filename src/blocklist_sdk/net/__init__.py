"""Helpers for everything that speaks HTTP: addresses, TLS, tokens, limits on responses, ranges, Retry-After."""
