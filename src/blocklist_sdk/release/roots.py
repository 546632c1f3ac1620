"""The chain of roots by which an authority replaces its keys (section 5.3 of the TUF specification)."""

from collections.abc import Callable

from tuf.api.exceptions import BadVersionNumberError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError

from blocklist_sdk.errors import InvalidInput


def follow_roots(trusted: Metadata[Root], find: Callable[[int], Metadata[Root] | None]) -> Metadata[Root]:
    """The newest root that a trusted one leads to: each is signed by the one before it, and by itself.

    Args:
        trusted: the root to begin with.
        find: returns the root of a version; None ends the walk.

    Raises:
        tuf.api.exceptions.RepositoryError: a root is not signed so, or has another version.
    """
    while (following := find(trusted.signed.version + 1)) is not None:
        if following.signed.version != trusted.signed.version + 1:
            raise BadVersionNumberError(f"root {trusted.signed.version + 1} says that it is {following.signed.version}")
        for signer in (trusted, following):
            signer.signed.verify_delegate(Root.type, following.signed_bytes, following.signatures)
        trusted = following
    return trusted


def root_version(data: bytes) -> int:
    """The version of a root's file; its signatures are not checked.

    Raises:
        InvalidInput: it is not root metadata.
    """
    try:
        signed = Metadata.from_bytes(data).signed
    except DeserializationError as error:
        raise InvalidInput("the file is not root metadata: give the root.json of a publisher") from error
    if not isinstance(signed, Root):
        raise InvalidInput(f"the file is {signed.type} metadata, not root: give the root.json of a publisher")
    return signed.version
