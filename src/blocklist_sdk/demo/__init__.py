"""Two stories that are played for real: the whole loop with two attacks, and one complaint at an exchange."""
