"""The exchange: the conversation between reporters, officers and recipients, and its two ends."""
