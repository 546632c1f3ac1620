"""Evidence: files taken in under a limit, judged by their content, kept by their hash."""
