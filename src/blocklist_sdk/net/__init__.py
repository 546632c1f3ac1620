"""What everything that speaks HTTP needs, once: addresses, TLS, tokens, bounded answers, Retry-After."""
