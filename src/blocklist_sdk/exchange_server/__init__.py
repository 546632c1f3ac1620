"""The reference exchange's server: casework, evidence, database, and the HTTP API (extra ``exchange``)."""
