r"""Sign the card that says where a refused caller may complain, as RFC 8688 has it, again and again.

A gateway's ``608 Rejected`` names the address of this card in ``Call-Info``, with ``purpose=jwscard``. It is a JSON
Web Signature (ES256) of a jCard. Its time must be that of the refusal, give or take a minute, so that nobody can show
an old card: run this beside a web server, which serves the file.

    python redress_card.py --key card.key --certificate https://exchange.example/card.cer \
        --name "Komplain Nomor" --url https://exchange.example/public/ -o /srv/www/redress.jws

Make the key with ``openssl ecparam -name prime256v1 -genkey -noout -out card.key``. An authority that callers trust
should sign its certificate, and the web server must serve that as well. The private key is needed here only.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from joserfc import jws
from joserfc.jwk import ECKey

EVERY_S = 20
"""A caller's side may refuse a card that is about a minute old (RFC 8688, section 3.3)."""


def jcard(name: str, *, url: str | None, email: str | None, tel: str | None) -> list[object]:
    """A jCard (RFC 7095) with the ways to complain; at least one must be there.

    >>> jcard("Complaints", url="https://exchange.example/public/", email=None, tel=None)[1][2]
    ['url', {'type': 'work'}, 'uri', 'https://exchange.example/public/']
    """
    properties: list[list[object]] = [["version", {}, "text", "4.0"], ["fn", {}, "text", name]]
    if url:
        properties.append(["url", {"type": "work"}, "uri", url])
    if email:
        properties.append(["email", {"type": "work"}, "text", email])
    if tel:
        properties.append(["tel", {"type": "work"}, "uri", f"tel:{tel}"])
    return ["vcard", properties]


def signed(card: list[object], key: ECKey, *, certificate: str, now: float) -> str:
    """The signature, in its compact form.

    Args:
        card: a jCard.
        key: a private key on the curve P-256.
        certificate: the address of its certificate.
        now: seconds since 1970.
    """
    header = {"alg": "ES256", "typ": "vcard+json", "x5u": certificate}
    payload = json.dumps({"iat": int(now), "jcard": card}, separators=(",", ":"), ensure_ascii=False)
    return jws.serialize_compact(header, payload.encode(), key, algorithms=["ES256"])


def write(path: Path, text: str) -> None:
    """Replace a file in one step: whoever reads it gets a whole card."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="ascii")
    new.chmod(0o644)
    os.replace(new, path)


def main() -> int:
    """Sign until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=Path, required=True, help="the private key, PEM, on the curve P-256")
    parser.add_argument("--certificate", required=True, metavar="URL", help="where its certificate can be fetched")
    parser.add_argument("--name", required=True, help="who refuses, for a person")
    parser.add_argument("--url", help="a page for complaints")
    parser.add_argument("--email", help="an address for complaints")
    parser.add_argument("--tel", help="a number for complaints, such as +622150000000")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file that the web server serves")
    parser.add_argument("--once", action="store_true", help="sign once")
    given = parser.parse_args()
    if not (given.url or given.email or given.tel):
        parser.error("give at least one of --url, --email and --tel: a caller must know where to complain")
    key = ECKey.import_key(given.key.read_text(encoding="ascii"))
    if key.curve_name != "P-256" or not key.is_private:
        parser.error(f"{given.key} is not a private key on the curve P-256")
    card = jcard(given.name, url=given.url, email=given.email, tel=given.tel)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while True:
        write(given.output, signed(card, key, certificate=given.certificate, now=time.time()))
        if given.once or stop.wait(EVERY_S):
            return 0


if __name__ == "__main__":
    sys.exit(main())
