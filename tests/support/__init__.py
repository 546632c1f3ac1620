"""What several test modules use. Import a helper from its module; fixtures need no import.

Fixtures

- `tests/conftest.py`: `shared_data` (the folder of real lists), `disk_path` (a folder on a disk, where `tmp_path` may
  be in memory), `tally` (counts shown at the end of a run).
- `exchange_fixtures`: `talk` (an exchange on SQLite and on PostgreSQL, with a client for each role), `lite` (on SQLite
  only), `start` (the same, with settings), `clock`, `template`, `secrets`, `server`, `database`, `postgres`,
  `new_postgres`.
- `sink_fixtures`: `redis_url`, `postgres_url`, `kafka_url`, `redis_running`, `kafka_brokers`.
- From pytest plug-ins: `respx_mock` (respx) answers requests of httpx without a network.

Publisher and recipient

- `world`: a publisher with a repository, recipients of it, and a forger who signs with stolen keys.
- `strategies`, `chains`, `reference`: generated rows, deltas after them, and the slow and obvious answers about them.
- `audit`, `decisions`, `model`: whether a recipient answers from one whole release; overrides and all the rest in
  dictionaries.
- `generations`: generations of generated rows, and chains of deltas after them, without a repository.
- `bundles`: lists for bundles, and what somebody makes of a bundle who can write the file and has no key.
- `mirrors`: making a mirror, and looking at what it serves.
- `holders`: people who have keys on machines of their own, and power cuts. `hsm`: a hardware module in software.
- `tuf_repository`: a repository of TUF that tests may sign wrongly.
- `plain_reader`: a reader written from the protocol's page with nothing of this package, and broken ones.
- `clock`: a clock that can be set, for whatever a recipient asks the time.

Servers and networks

- `loopback`, `receiving`, `exchanges`: a repository, a webhook's receiver and an exchange whose answers a test decides.
- `abused_server`: an exchange in a process of its own, abused and measured while an honest account goes on.
- `talking`: a real exchange and a client for each role. `quick_secrets` makes its password hashes cheap.
- `web_servers`: a folder on a web server with TLS or without, and a proxy that answers with one status.
- `redis_doors`, `mixed_list`: the look-up server's door for clients of Redis, and a list with every kind of answer.
- `lookup_servers`: `blocklist serve` in a process of its own, and clients that say what no HTTP library would.
- `proxy`: a proxy that cuts, delays and corrupts.
- `earlier_caches`: caches as earlier versions wrote them.
- `postgres`, `redis_servers`, `kafka_cluster`: servers that are started from installed programs. `strict_broker`: a
  Kafka broker that refuses every password.

Enforcement

- `memory_sink`, `sink_batches`, `ledgers`, `provisioning`: a sink in memory, batches, ledgers without a run, and a
  system that picks up files. `lost_overrides`: overrides that are gone, and that nobody removed.

Faults

- `killing`, `killed_sinks`: processes that are killed at a step, at a moment, or in the middle of a batch.
- `quick_processes`: processes of `multiprocessing` that have the package imported from the start.
- `preloaded`: libraries that are loaded before the C library: `no_locks.c`, `wrong_clock.c`.
- `full_disk`: a disk that refuses from a chosen write on.
- `sheets`: small spreadsheets, made as their formats require at least.
- `hostile_releases`, `thrift`, `measured_sync`: releases that are validly signed and meant to do harm, the bytes that
  no Parquet library writes, and a sync in a process of its own with what it cost.
- `hostile_files`, `evidence_files`: files that an exchange must refuse, and those that it must keep.

Running tests

- `command_line`: runs commands in this process. `forked_command`: a `blocklist` for shells that starts at once.
  `waiting`: waits for what another thread does. `scale`: how much is done, in the short and in the long form.
- `quick_disk`: has tests write into memory where there is room.
- `json_shapes`: whatever a command writes with `--json` in a test is validated.
- `import_plan`: which package may import which; `python -m support.import_plan` in `tests/` prints what is so today.
- `../vectors`: makes what is in `docs/protocol/vectors`, beyond the digests.
- `../with_httpx2`: puts httpx2 in the place of httpx, for `make test-httpx2`.
"""
