"""Command lines for the help and the reference. A test parses each of them, so that they stay right."""

from typing import Final

EXAMPLES: Final = {
    "init": (
        "blocklist init https://lists.example --feed id-messaging --root root.json --region ID",
        "blocklist init https://lists.example --feed id-messaging --region ID --fingerprint "
        '"4413 6fa3 55b3 678a 1146 ad16 f7e8 649e 94fb 4fc2 1fe7 7e83 10c0 60f6 1caa ff8a"',
    ),
    "feeds": ("blocklist feeds", "blocklist feeds --json"),
    "sync": (
        "blocklist sync",
        "blocklist sync --dry-run",
        "blocklist sync --watch --every 15m",
        "blocklist sync --accept 43",
    ),
    "trust replace": (
        "blocklist trust replace --root new-root.json --fingerprint "
        '"4413 6fa3 55b3 678a 1146 ad16 f7e8 649e 94fb 4fc2 1fe7 7e83 10c0 60f6 1caa ff8a" --dry-run',
    ),
    "status": ("blocklist status --json",),
    "check": (
        'blocklist check "+62 811-0000-0042" --scope sms',
        "blocklist check - --json < numbers.txt",
    ),
    "explain": ('blocklist explain "0811-0000-0042"',),
    "doctor": (
        "blocklist doctor",
        "blocklist doctor --offline --json",
        "blocklist doctor --sink file:///var/spool/blocks",
    ),
    "screen": (
        "blocklist screen users.csv -o screened.csv --column phone",
        "blocklist screen users.parquet -o hits.parquet --only-hits",
    ),
    "export": ("blocklist export --format csv > list.csv",),
    "changes": ("blocklist changes --since 41 --json",),
    "override block": ('blocklist override block "0811-0000-0042" --reason "ticket 4711"',),
    "override allow": (
        'blocklist override allow "0811-0000-0042" --reason "our hotline" --until 2099-12-31',
        'blocklist override allow "0811-0000-####" --reason "our own block of numbers"',
    ),
    "override import": ("blocklist override import decisions.csv --author operations",),
    "enforce": (
        "blocklist enforce --sink file:///var/spool/blocks --name hlr --dry-run",
        "blocklist enforce --sink https://provisioning.example/blocks --receipts",
        "blocklist enforce --sink postgresql://hlr@db/hlr --reconcile",
        "blocklist enforce --sink postgresql://hlr@db/hlr --only-operator telkomsel --accept",
    ),
    "receipts send": ("blocklist receipts send --sink hlr",),
    "statement": (
        "blocklist statement --sink hlr --month 2026-10 -o statement.html",
        'blocklist statement --sink hlr --month 2026-10 --language id --organisation "PT Contoh" -o laporan.html',
    ),
    "report send": (
        'blocklist report send "0811-0000-0042" --category phishing --channel sms '
        '--text "asked for a password" --happened-at 2026-11-24T08:00:00+07:00 --reporter case-17',
    ),
    "publish init": ("blocklist publish init authority --feed id-telkomsel --feed id-messaging=messaging --region ID",),
    "publish add-feed": ("blocklist publish add-feed authority --feed id-ott --scope messaging",),
    "publish set-scope": ("blocklist publish set-scope authority --feed id-messaging --scope messaging",),
    "publish keys show": ("blocklist publish keys show authority",),
    "publish keys rotate": (
        "blocklist publish keys rotate authority --role online",
        "blocklist publish keys rotate authority --role feed.id-messaging --restart-serials",
    ),
    "publish keys propose": (
        "blocklist publish keys propose authority --role root --add new.pub.pem --remove 3c9a6a0f -o next.json",
    ),
    "publish keys sign": ("blocklist publish keys sign next.json --key holder.pem",),
    "publish keys install": ("blocklist publish keys install authority from-first.json from-second.json",),
    "publish keys fingerprint": ("blocklist publish keys fingerprint root.json",),
    "publish protect add": (
        'blocklist publish protect add authority "+62 21 1500-0000 - +62 21 1500-0999"',
        "blocklist publish protect add authority --from banks.txt --propose proposal.json",
    ),
    "publish protect set": ("blocklist publish protect set authority --from protected.txt",),
    "publish protect apply": ("blocklist publish protect apply authority proposal.json --dry-run",),
    "publish release": (
        "blocklist publish release authority --feed id-messaging --from list.csv",
        "blocklist publish release authority --feed id-messaging --from list.parquet --column phone",
        "blocklist publish release authority --feed id-messaging --from list.csv --dry-run",
    ),
    "publish add": (
        "blocklist publish add authority --feed id-messaging --from december.csv --until 2099-06-30",
        "blocklist publish add authority --feed id-messaging 0811-0000-0042 --category phishing",
        "blocklist publish add authority --feed id-messaging --from december.csv --until 2099-06-30 --dry-run",
    ),
    "publish remove": (
        "blocklist publish remove authority --feed id-messaging 0811-0000-0042",
        "blocklist publish remove authority --feed id-messaging --from gone.csv --dry-run",
    ),
    "publish snapshot": ("blocklist publish snapshot authority --feed id-all --passphrase-file passphrase",),
    "publish refresh": ("blocklist publish refresh authority --passphrase-file passphrase",),
    "exchange user add": (
        "blocklist exchange user add exchange anna --scope officer",
        "blocklist exchange user add exchange telkomsel --scope receipt --scope feed:id-telkomsel "
        "--settings telkomsel/blocklist.toml",
    ),
    "exchange user scopes": ("blocklist exchange user scopes exchange telkomsel --scope report --scope feed:id-all",),
    "exchange user reopen": ("blocklist exchange user reopen exchange telkomsel",),
    "mirror": ("blocklist mirror /srv/lists",),
    "sandbox": ("blocklist sandbox --script",),
}
"""Command lines, by the names of the command. The numbers are made up."""
