"""Command lines for the help and the reference. A test parses each of them, so that they stay right."""

from typing import Final

EXAMPLES: Final = {
    "init": (
        "blocklist init https://lists.example --feed id-messaging --root root.json --region ID",
        "blocklist init https://lists.example --feed id-messaging --region ID --fingerprint "
        '"4413 6fa3 55b3 678a 1146 ad16 f7e8 649e 94fb 4fc2 1fe7 7e83 10c0 60f6 1caa ff8a"',
    ),
    "feeds": ("blocklist feeds", "blocklist feeds --json"),
    "demo": ("blocklist demo", "blocklist demo --rows 100000"),
    "version": ("blocklist version",),
    "override remove": ('blocklist override remove "0811-0000-0042"',),
    "override list": ("blocklist override list --limit 20", "blocklist override list --json"),
    "override export": ("blocklist override export decisions.csv",),
    "verify": ("blocklist verify",),
    "receipts pending": ("blocklist receipts pending --sink hlr",),
    "receipts list": ("blocklist receipts list --feed id-messaging --limit 20",),
    "receipts statistics": ("blocklist receipts statistics 2026-10",),
    "report attach": ("blocklist report attach 17 screenshot.png",),
    "report bulk": ("blocklist report bulk complaints.csv --region ID",),
    "report show": ("blocklist report show 17",),
    "report list": ('blocklist report list --number "0811-0000-0042"', "blocklist report list --limit 20"),
    "case list": ("blocklist case list --limit 20", "blocklist case list --state verifying --json"),
    "case show": ("blocklist case show 7",),
    "case history": ("blocklist case history 7",),
    "case start-verification": ("blocklist case start-verification 7",),
    "case decide": (
        'blocklist case decide 7 block --version 12 --reason "two screenshots" --category phishing --scope sms+voice',
        'blocklist case decide 7 retract --reason "the number has a new owner"',
    ),
    "case confirm": ("blocklist case confirm 5 --version 13",),
    "case recycled": (
        "blocklist case recycled",
        'blocklist case recycled --confirm 9f2c… --reason "the operator has given them out anew"',
    ),
    "case withdraw": ("blocklist case withdraw 5",),
    "case evidence": ("blocklist case evidence 7 --dir evidence",),
    "appeal send": (
        'blocklist appeal send "0811-0000-0042" --grounds "a new owner" --appellant case-18 --evidence bill.pdf',
        'blocklist appeal send --entry id-messaging:11 --grounds "our hotline" --appellant case-19',
    ),
    "appeal attach": ("blocklist appeal attach 9 bill.pdf",),
    "appeal show": ("blocklist appeal show 9",),
    "appeal list": ("blocklist appeal list --state open",),
    "appeal answer": ('blocklist appeal answer 9 --grant --reason "the bill shows a new owner"',),
    "appeal evidence": ("blocklist appeal evidence 9 --dir evidence",),
    "exchange init": ("blocklist exchange init exchange --region ID",),
    "exchange serve": ("blocklist exchange serve exchange --port 8080 --passphrase-file passphrase",),
    "exchange publish": ("blocklist exchange publish exchange --passphrase-file passphrase",),
    "exchange stats": ("blocklist exchange stats exchange --month 2026-10",),
    "exchange verify": ("blocklist exchange verify exchange",),
    "exchange user secret": ("blocklist exchange user secret exchange telkomsel",),
    "exchange user certificate": (
        "blocklist exchange user certificate exchange telkomsel --certificate old.pem --certificate new.pem",
    ),
    "exchange user disable": ("blocklist exchange user disable exchange telkomsel",),
    "exchange user list": ("blocklist exchange user list exchange",),
    "publish serve": ("blocklist publish serve authority --port 8080",),
    "publish protect remove": ('blocklist publish protect remove authority "+62 21 1500-0000"',),
    "publish protect list": ("blocklist publish protect list authority",),
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
        'blocklist check "0811-0000-0042" --bundle id-messaging.bundle --root root.json --region ID',
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
    "serve": (
        "blocklist serve",
        "blocklist serve --watch --every 15m --workers 2",
        "blocklist serve --uds /run/blocklist/lookups.sock --redis-port 6044",
        "blocklist serve --bundle id-messaging.bundle --root root.json --region ID",
    ),
    "export": ("blocklist export --format csv > list.csv",),
    "bundle": (
        "blocklist bundle -o id-messaging.bundle",
        "blocklist bundle -o id-messaging.bundle --with-overrides --json",
    ),
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
"""Command lines, by the names of the command; every command has one. The numbers are made up."""
