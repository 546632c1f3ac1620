"""The client of an exchange, and the models that it shares with the server."""
