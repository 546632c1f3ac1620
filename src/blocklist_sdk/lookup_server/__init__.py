"""The look-up server: verdicts for programs in any language, over HTTP, a Unix socket and the Redis protocol.

A parent process binds every address, then forks workers that share them. Workers answer from the list's own files, as
`Blocklist` does; the parent syncs, if it is asked to, and ends the service if a worker dies.
"""
