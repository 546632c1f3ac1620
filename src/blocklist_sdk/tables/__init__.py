"""Tables as people keep them: the one reader of files with rows, for every part of the library.

What a file is, its first bytes say (`kinds`). Text is cut in `delimited`, JSON in `json_rows`, spreadsheets in
`sheets`, address books in `vcard`; `header` finds the line with the names and the columns by their meaning, and
`table` puts it together. The reader promises the same for all of them: each row has its true line, and a row that
cannot be cut is named, with its line and the reason.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.tables.options import TableOptions as TableOptions
    from blocklist_sdk.tables.rejects import Reject as Reject

attach(__name__, {"Reject": "rejects", "TableOptions": "options"})
