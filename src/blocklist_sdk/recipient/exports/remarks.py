"""What has to be said about an export once, since its format cannot say it. Pure."""

from blocklist_sdk import times
from blocklist_sdk.recipient.exports.call_directory import ENTRIES_MAX
from blocklist_sdk.recipient.exports.phone_book import CONTACTS_MAX, contacts_of
from blocklist_sdk.recipient.exports.result import ExportResult
from blocklist_sdk.texts import counted


def remarks_on(result: ExportResult) -> tuple[str, ...]:
    """What the file cannot say, what was left out, and what its reader may not take; one sentence each.

    Args:
        result: the export, without remarks.
    """
    return tuple(each for each in (_unsaid(result), _when(result), _left_out(result), _of_reader(result)) if each)


def _unsaid(result: ExportResult) -> str | None:
    unsaid = ["categories, issuers"]
    if result.ending:
        unsaid.append(f"that {counted(result.ending, 'entry', 'entries')} will end")
    if result.some_scopes:
        entries = counted(result.some_scopes, "entry", "entries")
        chosen = "" if result.scope else " (--scope takes those of one)"
        unsaid.append(f"that {entries} block{'s' if result.some_scopes == 1 else ''} in some scopes only{chosen}")
    if result.ranges and result.output_format != "prefixes":
        unsaid.append(
            f"which {counted(result.range_numbers, 'number')} come from {counted(result.ranges, 'range')}"
            " rather than from an entry of their own"
        )
    return f"the format {result.output_format} cannot say: {'; '.join(unsaid)}"


def _when(result: ExportResult) -> str | None:
    if result.changes_at is None:
        return None
    moment = times.iso(result.changes_at.replace(microsecond=0))
    return f"an entry or override begins or ends at {moment}: write the file again then, and after each sync"


def _left_out(result: ExportResult) -> str | None:
    left_out = {
        "advisory|advisories": result.advisories,
        "entry that has not begun|entries that have not begun": result.not_begun,
        "entry that has ended|entries that have ended": result.ended,
        f"entry without the scope {result.scope}|entries without the scope {result.scope}": result.other_scopes,
        "number that is protected or that an override allows|numbers that are protected or that an override allows": (
            result.allowed
        ),
    }
    counts = [counted(count, *words.split("|")) for words, count in left_out.items() if count]
    return f"left out, since they do not block now: {'; '.join(counts)}" if counts else None


def _of_reader(result: ExportResult) -> str | None:
    if result.output_format == "ios" and result.numbers > ENTRIES_MAX:
        return (
            f"a call directory with more than {ENTRIES_MAX:,} numbers has been seen to be refused whole: share the "
            "file out among several extensions"
        )
    if result.output_format == "fritzbox" and (contacts := contacts_of(result.numbers)) > CONTACTS_MAX:
        return (
            f"the phone book has {contacts:,} contacts, and users report that a FRITZ!Box takes {CONTACTS_MAX:,}: see "
            "how many arrive"
        )
    if result.output_format == "prefixes":
        return (
            "a prefix stands only for numbers of as many digits as its line says: a gateway that compares prefixes "
            "alone would refuse others as well"
        )
    if result.output_format == "misp":
        return (
            "MISP's import gives a new list the category false_positive, with which searches leave out what is on it: "
            "set it to known there, once"
        )
    return None
