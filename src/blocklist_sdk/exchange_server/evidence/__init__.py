"""Evidence files: received up to a limit, judged by their content, stored under their hash."""
