"""The exchange's routes, by what they are about. They read requests and write answers; what is decided is elsewhere."""
