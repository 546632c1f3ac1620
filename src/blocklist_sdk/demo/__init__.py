"""The demonstration: the whole loop for real, on loopback, with two attacks. `blocklist demo` shows it."""

from blocklist_sdk.demo.story import Sample, Step, play

__all__ = ["Sample", "Step", "play"]
