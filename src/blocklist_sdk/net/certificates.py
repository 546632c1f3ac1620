"""Which certificate authorities are trusted: a file's, the environment's, the operating system's, or certifi's."""

import os
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from weakref import WeakKeyDictionary

from blocklist_sdk.errors import InvalidInput

_STORES: Final = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""Where truststore 0.10 looks if the places that OpenSSL was built with hold nothing."""

_HASHED: Final = re.compile(r"[0-9a-fA-F]{8}\.[0-9]")
"""Names of certificates in a folder that OpenSSL reads."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the trusted certificate authorities come from. Its text says it in words.

    Attributes:
        source: ``file`` that was given, ``environment``, the operating ``system``, or the package ``certifi``.
        places: files and folders, if they are known.
        variables: the variables of the environment that name them.

    >>> print(Certificates("file", ("/etc/ssl/ours.pem",)))
    the authorities in /etc/ssl/ours.pem
    """

    source: Literal["file", "environment", "system", "certifi"]
    places: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = " and ".join(self.places)
        match self.source:
            case "file":
                return f"the authorities in {where}"
            case "environment":
                return f"the authorities in {where} ({' and '.join(self.variables)})"
            case "system":
                return f"the operating system's authorities{f' ({where})' if where else ''}"
            case "certifi":
                return f"the authorities of the package certifi ({where}), since the operating system has no store"


_SOURCES: "WeakKeyDictionary[ssl.SSLContext, Certificates]" = WeakKeyDictionary()


def certificates_in_use(ca: str | Path | None = None, *, environment: Mapping[str, str] = os.environ) -> Certificates:
    """Which authorities are trusted for ``https:``; makes no connection.

    Args:
        ca: a file that was given; then only its authorities are trusted.
        environment: the variables: SSL_CERT_FILE and SSL_CERT_DIR, from which authorities come if no file is given.

    Raises:
        InvalidInput: SSL_CERT_FILE or SSL_CERT_DIR names what does not exist.

    >>> print(certificates_in_use("/etc/ssl/ours.pem"))
    the authorities in /etc/ssl/ours.pem
    """
    if ca is not None:
        return Certificates("file", (str(ca),))
    named = {name: environment[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environment.get(name)}
    for name, place in named.items():
        if not (Path(place).is_file() if name == "SSL_CERT_FILE" else any(map(os.path.isdir, place.split(os.pathsep)))):
            kind = "file" if name == "SSL_CERT_FILE" else "folder"
            raise InvalidInput(f"{name} names {place}, which is not a {kind}: correct {name}, or unset it")
    if named:
        return Certificates("environment", tuple(named.values()), tuple(named))
    store = _system_store()
    if store is not None:
        return Certificates("system", store)
    import certifi

    return Certificates("certifi", (certifi.where(),))


def certificates_of(context: ssl.SSLContext) -> Certificates | None:
    """Which authorities a context trusts; None if it was not made here."""
    return _SOURCES.get(context)


def trusting(certificates: Certificates) -> ssl.SSLContext:
    """A context that trusts these authorities, for clients. Reading them takes some 20 ms.

    Raises:
        InvalidInput: they cannot be read.
    """
    try:
        if certificates.source == "system":
            import truststore

            context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            named = dict(zip(certificates.variables or ("SSL_CERT_FILE",), certificates.places, strict=True))
            context = ssl.create_default_context(cafile=named.get("SSL_CERT_FILE"), capath=named.get("SSL_CERT_DIR"))
    except (OSError, ValueError) as error:
        where = f"the certificates in {' and '.join(certificates.places)}" if certificates.places else str(certificates)
        raise InvalidInput(f"cannot use {where}: {reason_of(error)}") from error
    _SOURCES[context] = certificates
    return context


def reason_of(error: OSError | ValueError) -> str:
    """Why a file with certificates or keys cannot be used, in a few words."""
    return getattr(error, "strerror", None) or str(error) or "it is not PEM"


def _system_store() -> tuple[str, ...] | None:
    """The places of the operating system's store; empty if it is no file; None if there is none."""
    if sys.platform in ("darwin", "win32"):
        return ()
    defaults = ssl.get_default_verify_paths()
    # Not `cafile` and `capath`, which follow the environment.
    if Path(defaults.openssl_cafile).is_file():
        return (defaults.openssl_cafile,)
    folder = Path(defaults.openssl_capath)
    if folder.is_dir() and any(_HASHED.fullmatch(name) for name in os.listdir(folder)):
        return (str(folder),)
    return next(((place,) for place in _STORES if Path(place).is_file()), None)
