"""Public keys of accounts, from PEM or a JWK."""

import json
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from blocklist_sdk.errors import InvalidInput


def public_key_of(text: str) -> str:
    """A public key as it is stored: a JWK.

    Args:
        text: PEM or a JWK; of a private key, the public half is taken.

    Raises:
        InvalidInput: it is no Ed25519 or P-256 key.
    """
    try:
        return json.dumps(load_key(text).as_dict(private=False))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput("the key is not an Ed25519 or P-256 public key: give one as PEM or as a JWK") from error


def load_key(text: str) -> OKPKey | ECKey:
    """A key from PEM or a JWK.

    Raises:
        JoseError, ValueError, TypeError, KeyError: it is none of these.
    """
    given: Any = json.loads(text) if text.lstrip().startswith("{") else text
    kinds: tuple[type[OKPKey], type[ECKey]] = OKPKey, ECKey
    if isinstance(given, dict):
        return kinds[given.get("kty") == "EC"].import_key(given)
    try:
        return OKPKey.import_key(given)
    except (JoseError, ValueError, TypeError):
        return ECKey.import_key(given)
