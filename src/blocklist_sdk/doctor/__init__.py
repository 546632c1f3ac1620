"""The doctor: what is wrong with a recipient's set-up on this machine, and what to do about each fault that it knows.

A check is a function that takes a `Patient` and yields findings; `examination.CHECKS` lists them. None changes anything
that lasts.
"""
