"""A holder's own key, opened to sign a proposal: a PEM file, or a key in a hardware module or a service."""

from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer

from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.publisher.keys import KeyUri, read_public_key


def open_key(
    key: Path | KeyUri | None, passphrase: Callable[[str], str], *, notify: Callable[[str], None] | None = None
) -> Signer:
    """Open a key.

    Args:
        key: a PEM file with a private key, PKCS#8; or where it is elsewhere.
        passphrase: returns the passphrase of a file, or the PIN of a module, given what it is for.
        notify: called with a warning if the file is not encrypted.

    Raises:
        InvalidInput: there is no such key, or the passphrase is wrong.
    """
    if isinstance(key, KeyUri):
        return _open_uri(key, passphrase)
    if key is None:
        raise InvalidInput("no key is given")
    try:
        pem = key.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read the key {key}: {error.strerror}") from error
    is_encrypted = b"ENCRYPTED" in pem
    if not is_encrypted and notify is not None:
        notify(f"the key {key} is not encrypted: whoever gets the file can sign with it")
    try:
        private = load_pem_private_key(pem, passphrase(key.stem).encode() if is_encrypted else None)
        return CryptoSigner(private)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            f"cannot open the key {key}: wrong passphrase, or the file is not a private key in PEM format (PKCS#8)"
        ) from error


def _open_uri(key: KeyUri, passphrase: Callable[[str], str]) -> Signer:
    public = read_public_key(key.public_key)
    try:
        return Signer.from_priv_key_uri(key.uri, public, passphrase)
    except BlocklistError:
        raise
    except Exception as error:
        # securesystemslib documents that errors of the services' own libraries pass through.
        raise InvalidInput(f"cannot use the key at {key.uri}: {error}") from error
