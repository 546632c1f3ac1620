"""Settings of the commands and of `Blocklist.from_settings`: their names, where they are found, how they are read."""
