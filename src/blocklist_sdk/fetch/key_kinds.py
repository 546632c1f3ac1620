"""Which kinds of keys the installed software knows."""

import json
from importlib.metadata import version

from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME

from blocklist_sdk import __version__


def unknown_key(metadata: bytes) -> str | None:
    """The kind of a key in signed metadata whose signatures cannot be verified here; None if all kinds are known.

    Args:
        metadata: a file of metadata, verified or not, damaged or not.

    >>> unknown_key(b'{"signed": {"keys": {"k": {"keytype": "ml-dsa", "scheme": "ml-dsa-65"}}}}')
    'ml-dsa with ml-dsa-65'
    """
    try:
        signed = json.loads(metadata)["signed"]
        holders = (signed, signed.get("delegations") or {})
        keys = [key for holder in holders for key in (holder.get("keys") or {}).values()]
        kinds = [(str(key["keytype"]), str(key["scheme"])) for key in keys]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return next((f"{kind} with {scheme}"[:100] for kind, scheme in kinds if not is_known_key(kind, scheme)), None)


def is_known_key(kind: str, scheme: str) -> bool:
    """Whether signatures of such a key can be verified.

    Args:
        kind: its ``keytype``, as in the TUF specification.
        scheme: its ``scheme``.

    >>> is_known_key("ed25519", "ed25519"), is_known_key("ml-dsa", "ml-dsa-65")
    (True, False)
    """
    return (kind, scheme) in KEY_FOR_TYPE_AND_SCHEME


def upgrade(kind: str) -> str:
    """What to do about a key of an unknown kind, with the versions that do not know it."""
    return (
        f"it has a key of a kind that this machine does not know, {kind}. It needs newer versions than blocklist-sdk "
        f"{__version__}, tuf {version('tuf')} and securesystemslib {version('securesystemslib')}: upgrade them; if "
        "there are none, ask the publisher which are needed"
    )
