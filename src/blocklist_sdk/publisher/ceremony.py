"""A ceremony: the next root and targets metadata in a file that goes from holder to holder, each of whom signs it.

::

    {
      "format": 1,
      "kind": "blocklist key ceremony",
      "role": "root",                       whose keys change, or which role is renewed
      "present": {"root": "…", "targets": "…"},   the files as they are published; null before the first
      "fingerprint": "…",                   of the present root; null before the first
      "documents": [{"signed": …, "signatures": […]}, …],   roots by version, then targets
      "signers": [{"document": "4.root", "threshold": 2, "keys": ["…", …]}, …],
      "changes": ["…", …]                   the same in words
    }

A holder needs nothing but this file and a key. So whatever is in it is judged by what it has itself: `signers` and
`changes` are for people who open the file, and must be what the documents say. The present root is the one thing that
nobody can judge by the file: people compare its fingerprint.

``docs/adr/0024-keys-are-replaced-in-rounds.md`` has the reasons.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted
from blocklist_sdk.publisher.ceremony_words import changes_in_words, check_successors
from blocklist_sdk.publisher.key_changes import NextMetadata, short
from blocklist_sdk.publisher.keys import ROOT, TARGETS
from blocklist_sdk.publisher.signed_state import why_not_signed
from blocklist_sdk.release.fingerprint import fingerprint
from blocklist_sdk.release.roots import ODD_SHAPES, root_version
from blocklist_sdk.texts import counted

KIND: Final = "blocklist key ceremony"
_FORMAT: Final = 1

PROPOSAL_BYTES_MAX: Final = 32_000_000
"""Present and next root and targets at their largest, with the escapes of JSON in JSON."""

_ELSEWHERE = "ask for the file once more, and write it with `blocklist publish keys propose`"


@dataclass(frozen=True, slots=True)
class Present:
    """What is published when a proposal is made.

    Attributes:
        root: the file of the root in force.
        targets: the file of the targets role in force.
    """

    root: bytes
    targets: bytes

    def read(self) -> tuple[Root, Targets]:
        """The signed parts, verified: the root by its own keys, the targets role by the root.

        Raises:
            Malformed: one of them is not metadata of its kind.
            Untrusted: a signature is missing.
        """
        root, targets = _metadata(self.root, Root), _metadata(self.targets, Targets)
        try:
            root.signed.verify_delegate(ROOT, root.signed_bytes, root.signatures)
            root.signed.verify_delegate(TARGETS, targets.signed_bytes, targets.signatures)
        except (RepositoryError, ValueError) as error:
            raise Untrusted(f"the metadata in the proposal that is called present does not verify: {error}") from error
        return root.signed, targets.signed


@dataclass(frozen=True, slots=True)
class NeededSignatures:
    """Signatures that a document needs: so many of these keys.

    Attributes:
        document: the file's name without its ending, such as ``4.root``.
        threshold: how many have to sign.
        keys: the public keys by their key ids.
        signed: key ids of those whose signatures are there and verify.
    """

    document: str
    threshold: int
    keys: dict[str, Key]
    signed: frozenset[str]

    @property
    def missing(self) -> int:
        """How many signatures are missing."""
        return max(0, self.threshold - len(self.signed))

    @property
    def asked(self) -> tuple[str, ...]:
        """Key ids of those that have not signed, sorted."""
        return tuple(sorted(self.keys.keys() - self.signed))


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next metadata, for holders to sign.

    Attributes:
        role: whose keys change, or which role is renewed: ``root``, ``targets``, ``online`` or ``feed.NAME``.
        present: what is published; None if nothing is yet.
        roots: the next roots, by ascending version.
        targets: the next version of the targets role; None if it stays as it is.
        restarts: whether the serials of the feed begin anew at 1.
    """

    role: str
    present: Present | None
    roots: tuple[Metadata[Root], ...]
    targets: Metadata[Targets] | None
    restarts: bool = False

    @classmethod
    def of(cls, role: str, present: Present | None, following: NextMetadata, *, restarts: bool = False) -> Self:
        """The proposal of metadata that nobody has signed yet."""
        roots = tuple(Metadata(root) for root in following.roots)
        return cls(role, present, roots, Metadata(following.targets) if following.targets else None, restarts)

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the root that is in force when the proposal is made; None before the first."""
        return fingerprint(self.present.root) if self.present else None

    @property
    def root_version(self) -> int | None:
        """The version of the root in force when the proposal is made; None before the first."""
        return root_version(self.present.root) if self.present else None

    @property
    def changes(self) -> list[str]:
        """What the documents change, in words.

        Raises:
            Malformed, Untrusted: as for `check`.
        """
        root, targets = self.present.read() if self.present else (None, None)
        following = [each.signed for each in self.roots]
        lines = changes_in_words(root, targets, following, self.targets.signed if self.targets else None)
        if self.restarts:
            lines.append(f"the serials of {self.role} begin anew at 1")
        return lines

    @property
    def needed(self) -> list[NeededSignatures]:
        """The signatures that the documents need, those that are there included."""
        return list(self._needed())

    @property
    def is_complete(self) -> bool:
        """Whether every signature is there."""
        return not any(each.missing for each in self.needed)

    def check(self) -> None:
        """Make sure that the documents follow the present ones, and change nothing but keys and expiries.

        Raises:
            Malformed: a document is not metadata, or changes something else.
            Untrusted: what is called present does not verify, or a signature does not.
        """
        root, targets = self.present.read() if self.present else (None, None)
        following = self.targets.signed if self.targets else None
        check_successors(root, targets, [each.signed for each in self.roots], following)
        for name, document, known in self._documents():
            for keyid, signature in document.signatures.items():
                key = known.get(keyid)
                try:
                    if key is None:
                        raise UnverifiedSignatureError("no such key signs it")
                    key.verify_signature(signature, document.signed_bytes)
                except UnverifiedSignatureError as error:
                    raise Untrusted(
                        f"the signature of key {short(keyid)} on {name} does not verify: the file was changed after it "
                        f"was signed; {_ELSEWHERE}"
                    ) from error

    def check_expiry(self, now: datetime) -> None:
        """Make sure that no document has expired.

        Raises:
            InvalidInput: one has.
        """
        for name, document, _ in self._documents():
            if document.signed.expires <= now:
                raise InvalidInput(
                    f"{name} in the proposal expired on {document.signed.expires:%Y-%m-%d}: write a new proposal with "
                    "`blocklist publish keys propose`"
                )

    def sign(self, signer: Signer) -> tuple[Self, list[str]]:
        """The proposal with the signatures of one key, and the names of the documents that it signed.

        Raises:
            InvalidInput: the key signs none of the documents, or could not sign.
        """
        keyid = signer.public_key.keyid
        signed: list[str] = []
        copied = self._copied()
        for name, document, known in copied._documents():
            if keyid in known:
                try:
                    document.sign(signer, append=True)
                except UnsignedMetadataError as error:
                    raise InvalidInput(
                        f"the key {short(keyid)} could not sign ({why_not_signed(error)}): make it available"
                    ) from error
                signed.append(name)
        if not signed:
            asked = sorted({short(keyid) for _, _, known in copied._documents() for keyid in known})
            raise InvalidInput(
                f"the key {short(keyid)} signs nothing in this proposal, which asks for: {', '.join(asked)}"
            )
        copied.check()
        return copied, signed

    def merged(self, others: Iterable["Proposal"]) -> Self:
        """The proposal with the signatures of copies of it that were signed elsewhere.

        Raises:
            InvalidInput: one is another proposal.
        """
        copied = self._copied()
        for other in others:
            theirs = [document for _, document, _ in other._documents()]
            mine = [document for _, document, _ in copied._documents()]
            same = [document.signed_bytes for document in theirs] == [document.signed_bytes for document in mine]
            if not same or (other.role, other.present, other.restarts) != (self.role, self.present, self.restarts):
                raise InvalidInput(
                    "the files are of different proposals: give signed copies of one and the same file only"
                )
            for document, signed in zip(mine, theirs, strict=True):
                document.signatures.update(signed.signatures)
        return copied

    def to_json(self) -> bytes:
        """The proposal as a file."""
        present = self.present
        document = {
            "format": _FORMAT,
            "kind": KIND,
            "role": self.role,
            "restarts": self.restarts,
            "present": {"root": present.root.decode(), "targets": present.targets.decode()} if present else None,
            "fingerprint": self.fingerprint,
            "documents": [document.to_dict() for _, document, _ in self._documents()],
            "signers": self._signers(),
            "changes": self.changes,
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a file and check it, as `check` does.

        Raises:
            InvalidInput: it was written by a newer version of this library.
            Malformed: it is not a proposal, or it was damaged.
            Untrusted: it was changed.
        """
        if len(data) > PROPOSAL_BYTES_MAX:
            raise Malformed(f"the proposal has more than {PROPOSAL_BYTES_MAX:,} bytes: {_ELSEWHERE}")
        try:
            return cls._read(json.loads(data))
        except BlocklistError:
            raise
        except (RepositoryError, *ODD_SHAPES) as error:
            raise Malformed(f"this is not a proposal of keys, or it was damaged: {_ELSEWHERE}") from error

    @classmethod
    def _read(cls, found: Any) -> Self:
        """Read a document and check it; raises what tuf and Python do of odd values as well."""
        if found["kind"] != KIND:
            raise ValueError("it is of another kind")
        if found["format"] != _FORMAT:
            raise InvalidInput(
                f"the proposal has format {found['format']!r}, this library reads {_FORMAT}: upgrade blocklist-sdk"
            )
        present = found["present"]
        if present is not None:
            present = Present(present["root"].encode(), present["targets"].encode())
        documents = [_metadata(json.dumps(each).encode(), Root, Targets) for each in found["documents"]]
        role, restarts = found["role"], found["restarts"]
        if not isinstance(role, str) or not isinstance(restarts, bool) or not documents:
            raise ValueError("a field is of the wrong kind")
        roots = tuple(each for each in documents if each.signed.type == Root.type)
        rest = documents[len(roots) :]
        if documents[: len(roots)] != list(roots) or len(rest) > 1:
            raise Malformed(f"the proposal has documents in an order that none has: {_ELSEWHERE}")
        proposal = cls(role, present, roots, rest[0] if rest else None, restarts)
        proposal.check()
        printed = found["changes"], found["signers"], found["fingerprint"]
        if (proposal.changes, proposal._signers(), proposal.fingerprint) != printed:
            raise Untrusted(f"the proposal says in words what its documents do not: {_ELSEWHERE}")
        return proposal

    def _copied(self) -> Self:
        """The same with documents of its own, since signing changes them."""
        roots = tuple(Metadata(each.signed, dict(each.signatures)) for each in self.roots)
        targets = Metadata(self.targets.signed, dict(self.targets.signatures)) if self.targets else None
        return replace(self, roots=roots, targets=targets)

    def _documents(self) -> Iterator[tuple[str, Metadata[Any], dict[str, Key]]]:
        """Each document with its name, and the keys that may sign it."""
        needed = self.needed
        documents: Sequence[Metadata[Any]] = [*self.roots, *([self.targets] if self.targets else [])]
        for document in documents:
            name = _name(document)
            yield name, document, {k: key for each in needed if each.document == name for k, key in each.keys.items()}

    def _needed(self) -> Iterator[NeededSignatures]:
        before = _metadata(self.present.root, Root).signed if self.present else None
        for root in self.roots:
            yield from (_needs(delegator, ROOT, root) for delegator in ([before] if before else []) + [root.signed])
            before = root.signed
        if self.targets is not None and before is not None:
            yield _needs(before, TARGETS, self.targets)

    def _signers(self) -> list[dict[str, Any]]:
        return [
            {"document": each.document, "threshold": each.threshold, "keys": sorted(each.keys)} for each in self.needed
        ]


def missing_in_words(needed: Iterable[NeededSignatures]) -> list[str]:
    """What is missing, a line for each set of keys that has to sign a document."""
    return [
        f"{each.document} needs {counted(each.missing, 'more signature')} of: {', '.join(map(short, each.asked))}"
        for each in missing_once(needed)
    ]


def missing_once(needed: Iterable[NeededSignatures]) -> list[NeededSignatures]:
    """What is missing, once each: the root before and the root itself often ask for signatures of the same keys."""
    found = {(each.document, each.missing, each.asked): each for each in needed if each.missing}
    return list(found.values())


def _needs(delegator: Root, role: str, metadata: Metadata[Any]) -> NeededSignatures:
    result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    return NeededSignatures(
        _name(metadata), result.threshold, {**result.signed, **result.unsigned}, frozenset(result.signed)
    )


def _name(metadata: Metadata[Any]) -> str:
    return f"{metadata.signed.version}.{metadata.signed.type}"


def _metadata(data: bytes, *kinds: type[Any]) -> Metadata[Any]:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise Malformed(f"the proposal has a document that is not metadata: {_ELSEWHERE}") from error
    if not isinstance(metadata.signed, kinds):
        raise Malformed(f"the proposal has a document of the role {metadata.signed.type!r}: {_ELSEWHERE}")
    return metadata
