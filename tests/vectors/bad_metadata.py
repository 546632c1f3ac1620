"""Repositories whose metadata or files a reader must refuse."""

from collections.abc import Callable, Iterator
from typing import Any

from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, TargetFile

from vectors.case import Case, check, in_force, refused, sync
from vectors.keys import key
from vectors.repository import EXPIRES, FEED, LONG_AGO, OTHER_FEED, Repository, document, stored
from vectors.rows import in_order, row, snapshot
from vectors.sample import Sample, first, release, target_of

ADDED = row(99, 6281200000099)
"""What bad releases add: a reader that takes one of them answers that this number is listed."""

_UNTRUSTED, _STALE, _MALFORMED = "untrusted", "stale", "malformed"
_ROLES = {FEED: "feed's role", "targets": "targets role"}


def longer_list() -> list[dict[str, Any]]:
    return in_order([*first(), ADDED])


def offered(repository: Repository, change: Callable[[dict[str, Any]], None] = lambda index: None) -> Repository:
    """The repository after its first release, with a second one that is as it should be but for `change`."""
    rows = longer_list()
    repository.offer([release(2, rows, snapshot=snapshot(rows))], change=change)
    return repository


def all_bad_metadata(sample: Sample) -> Iterator[Case]:
    yield from _signatures(sample)
    yield from _expired(sample)
    yield from _rollbacks(sample)
    yield from _files(sample)
    yield from _delegations(sample)


def _signatures(sample: Sample) -> Iterator[Case]:
    for name, role in (("timestamp", "timestamp"), ("snapshot", "snapshot"), ("targets", "targets"), ("feed", FEED)):
        repository = sample.stages[0].copy()
        repository.signers[role] = ["somebody-else"]
        if role == "targets":
            repository.publish("targets")
        offered(repository)
        what = _ROLES.get(role, role)
        yield refused(
            sample, f"signature-{name}", f"the {what} is signed by a key that is not its own", repository, _UNTRUSTED
        )
    repository = offered(sample.stages[0].copy())
    data = repository.files["metadata/timestamp.json"]
    repository.files["metadata/timestamp.json"] = data.replace(b'"version":', b'"version": ').replace(
        EXPIRES.strftime("%Y").encode(), b"2098"
    )
    yield refused(sample, "signature-changed", "the timestamp was changed after it was signed", repository, _UNTRUSTED)
    repository = sample.stages[0].copy()
    repository.signers["root"] = ["root-1"]
    repository.sign("root")
    offered(repository)
    yield refused(
        sample, "threshold-root", "one key of the root signed its next version, and two must", repository, _UNTRUSTED
    )
    repository = sample.stages[0].copy()
    root = repository.roles["root"]
    for name in ("root-2", "root-3"):
        root.revoke_key(key(name).public_key.keyid, "root")
        root.add_key(key(f"{name}-new").public_key, "root")
    repository.signers["root"] = ["root-1", "root-2-new", "root-3-new"]
    repository.sign("root")
    offered(repository)
    yield refused(
        sample,
        "threshold-old-root",
        "the next root is signed by two of its own keys, and by one of the old ones only",
        repository,
        _UNTRUSTED,
    )
    repository = sample.stages[0].copy()
    targets = repository.roles["targets"]
    targets.add_key(key("second").public_key, FEED)
    targets.delegations.roles[FEED].threshold = 2
    repository.publish("targets")
    offered(repository)
    yield refused(sample, "threshold-feed", "one key signed the feed's role, and two must", repository, _UNTRUSTED)
    repository = sample.stages[0].copy()
    repository.roles["targets"].delegations.roles[FEED].threshold = 2
    repository.publish("targets")
    repository.signers[FEED] = [FEED, FEED]
    offered(repository)
    yield refused(
        sample,
        "threshold-same-key",
        "two keys must sign the feed's role, and there is one that could",
        repository,
        _UNTRUSTED,
    )


def _expired(sample: Sample) -> Iterator[Case]:
    for name, role in (
        *(("root", "root"), ("timestamp", "timestamp"), ("snapshot", "snapshot")),
        *(("targets", "targets"), ("feed", FEED)),
    ):
        repository = sample.stages[0].copy()
        repository.roles[role].expires = LONG_AGO
        if role == "root":
            repository.sign("root")
        if role == "targets":
            repository.publish("targets")
        offered(repository)
        what = _ROLES.get(role, role)
        yield refused(sample, f"expired-{name}", f"the {what} has expired", repository, _STALE)


def _rollbacks(sample: Sample) -> Iterator[Case]:
    third = ("sample", "sample-3")
    before = [sync(*third, expect=in_force(sample, 3))]
    after = [check([{"number": 6281200000025, "scope": None, "blocked": True, "reason": "listed"}], serial=3)]

    def rolled_back(name: str, reason: str, repository: Repository, *kinds: str) -> Case:
        steps = [*before, sync(*third, name, expect={"error": list(kinds)}), *after]
        about = "After a sync that must fail, release 3 goes on answering."
        return Case(name, about, steps, reason=reason, files=repository.beside(sample.stages[2]))

    steps = [*before, sync("sample", "sample-2", expect={"error": [_UNTRUSTED]}), *after]
    about = "After a sync that must fail, release 3 goes on answering."
    yield Case("rollback-timestamp", about, steps, reason="the timestamp is older than the one seen before")
    repository = sample.stages[2].copy()
    old = sample.stages[1].roles["snapshot"].version
    data = repository.files[f"metadata/{old}.snapshot.json"]
    repository.roles["timestamp"].snapshot_meta = MetaFile.from_data(old, data, ["sha256"])
    repository.sign("timestamp")
    yield rolled_back("rollback-snapshot", "a new timestamp names an older snapshot", repository, _UNTRUSTED)
    repository = sample.stages[2].copy()
    version = repository.roles[FEED].version - 1
    data = repository.files[f"metadata/{version}.{FEED}.json"]
    repository.roles["snapshot"].meta[f"{FEED}.json"] = MetaFile.from_data(version, data, ["sha256"])
    repository.publish_online()
    yield rolled_back(
        "rollback-feed-role", "a new snapshot names an older version of the feed's role", repository, _UNTRUSTED
    )
    repository = sample.stages[2].copy()
    repository.offer(sample.releases[:2], last_entry=25)
    yield rolled_back("rollback-serial", "a new index offers release 2 after release 3", repository, _UNTRUSTED)
    repository = sample.stages[2].copy()
    rows = in_order([*sample.rows[2], ADDED])
    repository.offer([release(3, rows, snapshot=snapshot(rows))])
    yield rolled_back("same-serial", "release 3 is another list than before", repository, _UNTRUSTED)
    repository = sample.stages[2].copy()
    again = release(4, rows, snapshot=snapshot(rows))
    earlier = type(again)(4, "2026-03-01T06:00:00Z", again.rows, again.digest, snapshot=again.snapshot)
    repository.offer([earlier])
    yield rolled_back("published-earlier", "release 4 was published before release 3", repository, _UNTRUSTED)
    repository = sample.stages[2].copy()
    del repository.roles[FEED].targets[f"{FEED}/index.json"]
    repository.publish(FEED)
    yield rolled_back("index-gone", "the feed's role signs no index any more", repository, _UNTRUSTED)
    repository = eras(sample)
    repository.roles["targets"].delegations.roles[FEED].unrecognized_fields.clear()
    repository.publish("targets")
    repository.offer([release(9, sample.rows[2], snapshot=snapshot(sample.rows[2]))])
    name = "era-back"
    steps = [
        *before,
        sync(*third, "new-era", expect={"serial": 1, "digest": release(1, sample.rows[2]).digest}),
        sync(*third, "new-era", name, expect={"error": [_UNTRUSTED]}),
        check(after[0]["answers"], serial=1),
    ]
    files = repository.beside(eras(sample))
    about = "After a sync that must fail, release 1 of era 2 goes on answering."
    yield Case(name, about, steps, reason="release 9 is of era 1, after era 2 has begun", files=files)


def eras(sample: Sample) -> Repository:
    """After the third release: the feed has another key, its old one is gone, and its serials begin at 1 again."""
    repository = sample.stages[2].copy()
    targets = repository.roles["targets"]
    targets.revoke_key(key(FEED).public_key.keyid, FEED)
    targets.add_key(key(f"{FEED}-2").public_key, FEED)
    targets.delegations.roles[FEED].unrecognized_fields["era"] = targets.version + 1
    repository.signers[FEED] = [f"{FEED}-2"]
    for path in list(repository.roles[FEED].targets):
        del repository.roles[FEED].targets[path]
    begun = release(1, sample.rows[2], snapshot=snapshot(sample.rows[2]))
    repository.offer(
        [type(begun)(1, "2026-04-01T06:00:00Z", begun.rows, begun.digest, snapshot=begun.snapshot)], also=("targets",)
    )
    return repository


def _files(sample: Sample) -> Iterator[Case]:
    def changed(path: str, change: Callable[[bytes], bytes], repository: Repository) -> Repository:
        name = stored(path, b"")
        folder, _, file = name.rpartition("/")
        signed = f"{folder}/{target_of(repository, path).hashes['sha256']}.{file.partition('.')[2]}"
        repository.files[signed] = change(repository.files[signed])
        return repository

    def flipped(data: bytes) -> bytes:
        return data[:40] + bytes([data[40] ^ 1]) + data[41:]

    parquet = f"{FEED}/2.snapshot.parquet"
    index = f"{FEED}/index.json"
    new = offered(sample.stages[0].copy())
    kinds = (_UNTRUSTED,)
    yield refused(
        sample,
        "file-changed",
        "a byte of the snapshot is not the one that was signed",
        changed(parquet, flipped, new.copy()),
        *kinds,
    )
    yield refused(
        sample,
        "file-longer",
        "the snapshot is longer than signed",
        changed(parquet, lambda data: data + b"\0", new.copy()),
        *kinds,
    )
    yield refused(
        sample,
        "file-shorter",
        "the snapshot is shorter than signed",
        changed(parquet, lambda data: data[:-1], new.copy()),
        *kinds,
        "unreachable",
    )
    yield refused(
        sample,
        "index-changed",
        "the index is not the one that was signed",
        changed(index, lambda data: data.replace(b'"ID"', b'"GB"'), new.copy()),
        *kinds,
    )
    repository = new.copy()
    version = repository.roles[FEED].version
    name = f"metadata/{version}.{FEED}.json"
    repository.files[name] = repository.files[name].replace(b'"signatures":', b'"signatures": ')
    yield refused(
        sample, "role-changed", "the feed's role does not have the hash that the snapshot signs", repository, *kinds
    )
    repository = new.copy()
    target = target_of(repository, parquet)
    repository.roles[FEED].targets[parquet] = TargetFile(target.length + 1, target.hashes, parquet)
    repository.publish(FEED)
    yield refused(
        sample,
        "length-signed",
        "the role signs another length than the index says",
        repository,
        _UNTRUSTED,
        _MALFORMED,
        "unreachable",
    )
    repository = new.copy()
    del repository.roles[FEED].targets[parquet]
    repository.publish(FEED)
    yield refused(sample, "file-unsigned", "the index names a snapshot that no role signs", repository, *kinds)
    repository = sample.stages[0].copy()
    rows = longer_list()
    data = snapshot(rows)
    repository.offer([release(2, rows, snapshot=data)])
    repository.put(f"{FEED}/2.snapshot.parquet", data, hash_name="sha512")
    repository.publish(FEED)
    yield refused(
        sample, "hash-missing", "the snapshot is signed without a SHA-256 hash", repository, _UNTRUSTED, _MALFORMED
    )
    repository = sample.stages[0].copy()
    repository.files["metadata/timestamp.json"] = repository.files["metadata/timestamp.json"][:100]
    yield refused(sample, "timestamp-cut", "the timestamp ends in its middle", repository, _MALFORMED, _UNTRUSTED)
    repository = sample.stages[0].copy()
    repository.files["metadata/timestamp.json"] = b"<!doctype html><title>Log in to this network</title>\n"
    yield refused(
        sample, "captive-portal", "a captive portal answers in the server's stead", repository, _MALFORMED, _UNTRUSTED
    )
    for name, numbers in (("order", [6281200000014, 6281200000013]), ("text", ["6281200000013"])):
        repository = sample.stages[0].copy()
        repository.put("protected.json", document({"numbers": numbers, "protocol": 1}), role="targets")
        repository.publish("targets")
        offered(repository)
        why = {"order": "are not in ascending order", "text": "are texts"}[name]
        yield refused(
            sample, f"protected-{name}", f"the protected numbers {why}", repository, _MALFORMED, required=False
        )


def _delegations(sample: Sample) -> Iterator[Case]:
    repository = offered(sample.stages[0].copy())
    # The other feed's key signs what this feed's role has signed so far.
    for path in (f"{FEED}/index.json", f"{FEED}/2.snapshot.parquet"):
        repository.roles[OTHER_FEED].targets[path] = repository.roles[FEED].targets.pop(path)
    repository.publish(OTHER_FEED, FEED)
    yield refused(
        sample, "outside-paths", "the index is signed by the role of another feed alone", repository, _UNTRUSTED
    )
    repository = sample.stages[0].copy()
    repository.put("protected.json", document({"numbers": [], "protocol": 1}), role=FEED)
    yield Case(
        "protected-by-feed",
        "A feed's role signs an empty list of protected numbers: the one that the targets role signs holds.",
        [
            sync(
                "sample",
                "sample-1",
                "protected-by-feed",
                expect={"serial": 2, "digest": release(2, longer_list()).digest},
            ),
            check([{"number": 6281200000013, "scope": None, "blocked": False, "reason": "protected"}], serial=2),
        ],
        group="sync",
        required=False,
        files=offered(repository).beside(sample.stages[0]),
    )
    repository = sample.stages[0].copy()
    role = DelegatedRole("anybody", [], 1, terminating=True, paths=[f"{FEED}/*"])
    repository.roles[FEED].delegations = Delegations({}, {"anybody": role})
    repository.roles[FEED].add_key(key("anybody").public_key, "anybody")
    repository.roles["anybody"] = type(repository.roles[FEED])(expires=EXPIRES)
    repository.roles["anybody"].version = 0
    repository.signers["anybody"] = ["anybody"]
    repository.publish("anybody")
    offered(repository)
    yield refused(
        sample, "feed-delegates", "the feed's role delegates to another one", repository, _MALFORMED, _UNTRUSTED
    )
    repository = sample.stages[0].copy()
    offered(repository, lambda index: index.update(feed=OTHER_FEED))
    yield refused(
        sample, "index-of-another-feed", "the index calls itself that of another feed", repository, _MALFORMED
    )
    for name, path in (
        ("of-another-feed", f"{OTHER_FEED}/2.snapshot.parquet"),
        ("upwards", f"{FEED}/../2.snapshot.parquet"),
    ):
        repository = sample.stages[0].copy()
        data = snapshot(longer_list())
        repository.put(path, data)
        offered(repository, lambda index, path=path: index["releases"][0]["snapshot"].update(path=path))  # type: ignore[misc]
        repository.files.pop(stored(path, data), None)
        yield refused(sample, f"path-{name}", f"the index names the file {path}", repository, _MALFORMED, _UNTRUSTED)
    name = "unknown-feed"
    step = sync("sample", "sample-1", expect={"error": ["invalid", _UNTRUSTED]}, feed="id-nobody")
    yield Case(name, "A feed that the repository does not have.", [step], reason="the repository has no such feed")
    step = sync("sample", "sample-1", expect={"error": [_UNTRUSTED, "invalid"]}, root="other.root.json")
    about = "The pinned root is that of another authority."
    yield Case("another-root", about, [step], reason="the pinned root is that of another authority")


def other_root() -> bytes:
    """The root of another authority, whose keys have nothing to do with those of the sample."""
    repository = Repository.new([])
    root = repository.roles["root"]
    for number in (1, 2, 3):
        root.revoke_key(key(f"root-{number}").public_key.keyid, "root")
        root.add_key(key(f"other-root-{number}").public_key, "root")
    for role in ("targets", "snapshot", "timestamp"):
        old = "targets" if role == "targets" else "online"
        root.revoke_key(key(old).public_key.keyid, role)
        root.add_key(key(f"other-{old}").public_key, role)
    repository.signers["root"] = ["other-root-1", "other-root-2"]
    return repository.sign("root", version=1)
