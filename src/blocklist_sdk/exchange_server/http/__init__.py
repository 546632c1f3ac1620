"""HTTP: authentication, idempotency keys, pages, problems, rate limits, and routes. `casework` decides."""
