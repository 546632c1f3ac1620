"""What a PDF may hold: an allow-list of what printed and scanned documents need (ISO 32000-2:2020).

A reader acts by what it finds in a few places: the catalog, pages, annotations, bookmarks, forms and their actions. For
each of these the keys that it may have are listed, and another one is refused. Everything else, such as fonts, pictures
and the structure, is only painted; there, and in objects that nothing refers to, what could act is refused by name.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, Pdf, Stream, String

from blocklist_sdk.exchange_server.evidence.judge import Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import check, check_pixels

OBJECTS_MAX: Final = 200_000
"""Most objects of a document: a book of a thousand pages has 20,000."""

_NODES_MAX: Final = 1_000_000
"""Most values in all of them together, which bounds the time."""

_DEPTH_MAX: Final = 100
"""Deepest nesting of values within one object; documents have ten."""

UNPACKED_MAX: Final = 256_000_000
"""Most bytes that everything but pictures may unpack to, 12 times as much as the longest file has."""

_SHOWN_MAX: Final = 40

_FILTERS_MAX: Final = 2
"""Most filters of a stream: text that packs bytes, and the packing itself."""

_UNPACKING: Final = frozenset({"/FlateDecode", "/LZWDecode", "/RunLengthDecode", "/ASCII85Decode", "/ASCIIHexDecode"})
_BOMB: Final = "the PDF unpacks to far more than its size"

_MORE: Final = "the PDF does more than show a document"

LINKS: Final = "it links to the internet"
FILES: Final = "it holds other files"
REMOTE: Final = "it refers to other files"
SCRIPTS: Final = "it holds JavaScript"
OPENS: Final = "it acts when it is opened"
FILMS: Final = "it holds films, sounds or scenes"

_ACTIONS: Final = {
    "JavaScript": SCRIPTS,
    "Launch": "it starts programs",
    "URI": LINKS,
    "GoToR": REMOTE,
    "GoToE": FILES,
    "GoToDp": REMOTE,
    "Thread": REMOTE,
    "SubmitForm": "it sends data when it is filled in",
    "ImportData": "it reads other files",
    "Rendition": "it holds films or scripts",
    "RichMediaExecute": FILMS,
    "GoTo3DView": FILMS,
    "Movie": FILMS,
    "Sound": FILMS,
}
"""Actions, and what is wrong with them: 12.6.4. The one that stays in the document, `GoTo`, is allowed."""

_KEYS: Final = {
    "AA": OPENS,
    "JS": SCRIPTS,
    "JavaScript": SCRIPTS,
    "EF": FILES,
    "RF": FILES,
    "AF": FILES,
    "EmbeddedFiles": FILES,
    "Collection": FILES,
    "XFA": "it holds a form with scripts",
    "RichMediaContent": FILMS,
    "RichMediaSettings": FILMS,
    "3DD": FILMS,
    "OPI": REMOTE,
    "FFilter": REMOTE,
    "URI": LINKS,
    "Encrypt": "it is encrypted, so its content cannot be checked: save it without a password",
}
"""Keys that no dictionary may have."""

_KINDS: Final = {
    "Filespec": REMOTE,
    "F": REMOTE,
    "EmbeddedFile": FILES,
    "FileAttachment": FILES,
    "RichMedia": FILMS,
    "3D": FILMS,
    "U3D": FILMS,
    "PRC": FILMS,
    "Movie": FILMS,
    "Sound": FILMS,
    "Screen": FILMS,
    "Rendition": FILMS,
    "PS": "it holds a PostScript program",
}
"""Values of `Type` and `Subtype` that no dictionary may have."""

_KEY_NAMES: Final = frozenset("/" + key for key in _KEYS)
_KIND_NAMES: Final = frozenset({"/Type", "/Subtype", "/Subtype2", "/S"})

_ALSO_HARMLESS: Final = frozenset({"F", "PS", "Screen", "Thread", "Sound", "Movie"})
"""Names that have other meanings as well: `Screen` is a way of blending colours."""

ACTIVE_NAMES: Final = {name: why for name, why in (_ACTIONS | _KEYS | _KINDS).items() if name not in _ALSO_HARMLESS}
"""Names that stand for something that acts, wherever they are written."""

ACTIVE_KINDS: Final = {name: (_ACTIONS | _KINDS)[name] for name in _ALSO_HARMLESS}
"""Names that stand for something that acts as the kind of an object or action."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRAILER: Final = _words("Size Root Info ID Prev XRefStm DocChecksum Type W Index Filter DecodeParms Length")
_CATALOG: Final = _words(
    "Type Version Extensions Pages PageLabels Names Dests ViewerPreferences PageLayout PageMode Outlines Threads "
    "OpenAction Metadata StructTreeRoot MarkInfo Lang SpiderInfo OutputIntents PieceInfo OCProperties Perms Legal "
    "DSS "
    "AcroForm DPartRoot"
)
_PAGE: Final = _words(
    "Type Parent Kids Count LastModified Resources MediaBox CropBox BleedBox TrimBox ArtBox BoxColorInfo Contents "
    "Rotate Group Thumb B Dur Trans Annots Metadata PieceInfo StructParents ID PZ SeparationInfo Tabs UserUnit VP "
    "OutputIntents DPart"
)
_ANNOTATIONS: Final = _words(
    "Text Link FreeText Line Square Circle Polygon PolyLine Highlight Underline Squiggly StrikeOut Caret Stamp Ink "
    "Popup Widget PrinterMark TrapNet Watermark"
)
_ANNOTATION: Final = _words(
    "Type Subtype Rect Contents P NM M F AP AS Border C StructParent OC ca CA BM Lang BS QuadPoints Dest A H PA T "
    "Popup RC CreationDate IRT Subj RT IT Open Name State StateModel DA Q DS CL BE RD LE IC L LL LLE Cap LLO CP "
    "Measure CO Vertices InkList Sy FixedPrint MK FT Parent Kids TU TM Ff V DV MaxLen Opt TI I Lock SV DR Path "
    "LastModified Version AnnotStates FontFauxing MN Rotate"
)
_FORM: Final = _words("Fields NeedAppearances SigFlags DR DA Q")
_BOOKMARK: Final = _words("Type Title Parent Prev Next First Last Count Dest A SE C F")
_ACTION: Final = _words("Type S D SD")
_NAMES: Final = frozenset({"Dests"})


class Active(Unfit):
    """A PDF does more than show a document."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{_MORE}: {why}")


class _Place(NamedTuple):
    """A dictionary at a place where readers act, and what is allowed there."""

    name: str
    keys: frozenset[str]


CATALOG: Final = _Place("its catalog", _CATALOG)
PAGE: Final = _Place("a page", _PAGE)
ANNOTATION: Final = _Place("an annotation", _ANNOTATION)
FORM: Final = _Place("its form", _FORM)
BOOKMARK: Final = _Place("a bookmark", _BOOKMARK)
ACTION: Final = _Place("an action", _ACTION)
NAMES: Final = _Place("its names", _NAMES)
TRAILER: Final = _Place("its trailer", _TRAILER)


def check_document(pdf: Pdf) -> None:
    """Refuse a document that holds more than what printed and scanned ones need.

    Raises:
        Unfit: it does, or it is too large or too deep to be judged.
    """
    check(not pdf.is_encrypted, f"{_MORE}: {_KEYS['Encrypt']}")
    check(len(pdf.objects) <= OBJECTS_MAX, "the PDF has too many objects")
    _everywhere(pdf)
    _allowed(pdf.trailer, TRAILER)
    _catalog(_dictionary(pdf.trailer.get("/Root"), "its catalog"))


# What no place may hold


def _everywhere(pdf: Pdf) -> None:
    """Look at every object, also at those that nothing refers to."""
    nodes = unpacked = 0
    parts: Collection[Object]
    for whole in (pdf.trailer, *pdf.objects):
        pending: list[tuple[Object, int]] = [(whole, 0)]
        while pending:
            value, depth = pending.pop()
            check(depth < _DEPTH_MAX, "the PDF is nested too deeply")
            if isinstance(value, Stream | Dictionary):
                members = dict(value.items())
                _inert(members)
                parts = members.values()
            elif isinstance(value, Array):
                parts = value.as_list()
            else:
                continue
            nodes += len(parts)
            check(nodes <= _NODES_MAX, "the PDF has too many parts")
            # Objects that it only refers to have their own turn.
            pending.extend(
                (part, depth + 1) for part in parts if isinstance(part, Dictionary | Array) and not part.is_indirect
            )
        if isinstance(whole, Stream):
            unpacked += _stream(whole)
            check(unpacked <= UNPACKED_MAX, _BOMB)


def _inert(members: Mapping[str, Object]) -> None:
    """Refuse a dictionary that has a key or is of a kind that acts."""
    for key in _KEY_NAMES & members.keys():
        raise Active(_KEYS[key[1:]])
    for key in _KIND_NAMES & members.keys():
        kind = members[key]
        if isinstance(kind, Name):
            why = (_ACTIONS if key == "/S" else _KINDS).get(str(kind)[1:])
            if why is not None and not (key == "/S" and _is_structure(members)):
                raise Active(why)
    if "/Ref" in members and members.get("/Subtype") == Name.Form:
        raise Active(REMOTE)


def _is_structure(members: Mapping[str, Object]) -> bool:
    """Whether this is an element of the structure, whose kinds have names of the author's choice: 14.7.2."""
    return members.get("/Type") == Name.StructElem


def _stream(value: Object) -> int:
    """Refuse a stream that lies in another file or is packed more than once; return the bytes that it unpacks to."""
    if "/F" in value or "/FDecodeParms" in value:
        raise Active(REMOTE)
    filters = value.get("/Filter")
    names = [str(each) for each in _array(filters, "a filter")] if isinstance(filters, Array) else []
    names = names or [str(filters)] * (filters is not None)
    check(len(names) <= _FILTERS_MAX and len(set(names)) == len(names), "the PDF packs a part more than once")
    if value.get("/Subtype") == Name.Image:
        width, height = value.get("/Width"), value.get("/Height")
        if not (isinstance(width, int) and isinstance(height, int)):
            raise Unfit("a picture in the PDF is damaged")
        check_pixels(width, height)
        return 0
    if not _UNPACKING.issuperset(names):
        return 0
    try:
        return len(value.get_stream_buffer(pikepdf.StreamDecodeLevel.generalized))
    except pikepdf.PdfError as error:
        raise Unfit(_BOMB if "limit" in str(error) else "a part of the PDF is damaged") from error


# What the places where readers act may hold


def _allowed(value: Object, place: _Place) -> None:
    for key in value.keys():  # noqa: SIM118 -- a PDF's dictionary, over whose keys alone nothing goes
        if key[1:] not in place.keys:
            raise Active(
                _KEYS.get(key[1:]) or f"{place.name} holds {_shown(key)}, which documents to be looked at do not need"
            )


def _shown(name: object) -> str:
    """A name for a message; names may hold any bytes."""
    text = str(name)[1:]
    return text if text.isascii() and text.isalnum() and len(text) <= _SHOWN_MAX else "something unknown"


def _dictionary(value: object, what: str) -> Object:
    check(isinstance(value, Dictionary), f"the PDF is damaged: {what} is missing")
    assert isinstance(value, Dictionary)
    return value


def _array(value: object, what: str) -> list[Object]:
    check(value is None or isinstance(value, Array), f"the PDF is damaged: {what} is not a list")
    return [] if value is None else list(value)  # type: ignore[call-overload]


class _Once:
    """Remembers which objects were seen, so that circles end."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def first(self, value: Object) -> bool:
        if not value.is_indirect:
            return True
        if value.objgen in self._seen:
            return False
        self._seen.add(value.objgen)
        return True


def _catalog(catalog: Object) -> None:
    _allowed(catalog, CATALOG)
    once = _Once()
    annotations = _Once()
    pending = [_dictionary(catalog.get("/Pages"), "its list of pages")]
    while pending:
        page = pending.pop()
        if once.first(page):
            _allowed(page, PAGE)
            for annotation in _array(page.get("/Annots"), "its annotations"):
                _annotation(_dictionary(annotation, "an annotation"), annotations)
            pending.extend(_dictionary(kid, "a page") for kid in _array(page.get("/Kids"), "its list of pages"))
    if "/OpenAction" in catalog:
        _opening(catalog["/OpenAction"])
    if "/Names" in catalog:
        names = _dictionary(catalog["/Names"], "its names")
        _allowed(names, NAMES)
        _destinations(names.get("/Dests"))
    for destination in catalog["/Dests"].as_dict().values() if isinstance(catalog.get("/Dests"), Dictionary) else ():
        _destination(destination)
    if "/Outlines" in catalog:
        _bookmarks(_dictionary(catalog["/Outlines"], "its bookmarks"))
    if "/AcroForm" in catalog:
        form = _dictionary(catalog["/AcroForm"], "its form")
        _allowed(form, FORM)
        for field in _array(form.get("/Fields"), "its form"):
            _annotation(_dictionary(field, "a field"), annotations, is_field=True)


def _annotation(annotation: Object, once: _Once, *, is_field: bool = False) -> None:
    pending = [annotation]
    while pending:
        value = pending.pop()
        if not once.first(value):
            continue
        _allowed(value, ANNOTATION)
        kind = value.get("/Subtype")
        if not (is_field and kind is None):
            check(isinstance(kind, Name), "an annotation in the PDF is damaged")
            if str(kind)[1:] not in _ANNOTATIONS:
                raise Active(_KINDS.get(str(kind)[1:], f"it has annotations of the kind {_shown(kind)}"))
        for key in ("/A", "/PA"):
            if key in value:
                _action(value[key])
        if "/Dest" in value:
            _destination(value["/Dest"])
        if is_field:
            pending.extend(_dictionary(kid, "a field") for kid in _array(value.get("/Kids"), "a field"))


def _action(action: Object) -> None:
    """Refuse every action but one: to go to a place in the same document."""
    _dictionary(action, "an action")
    kind = action.get("/S")
    if kind != Name.GoTo:
        raise Active(_ACTIONS.get(str(kind)[1:], f"it has an action of the kind {_shown(kind)}"))
    _allowed(action, ACTION)
    _destination(action.get("/D"))


def _opening(value: Object) -> None:
    """Refuse what acts when the document is opened, but for the page to show first: 7.7.2, `OpenAction`."""
    if isinstance(value, Dictionary) and value.get("/S") == Name.GoTo:
        _action(value)
    elif isinstance(value, Array):
        _destination(value)
    else:
        raise Active(_ACTIONS.get(str(value.get("/S"))[1:], OPENS) if isinstance(value, Dictionary) else OPENS)


def _destination(value: Object | None) -> None:
    """Refuse a destination that is not in this document: 12.3.2."""
    if isinstance(value, Dictionary):
        _allowed(value, ACTION)
        value = value.get("/D")
    if isinstance(value, Name | String) or value is None:
        return
    check(isinstance(value, Array), "a link in the PDF is damaged")
    assert isinstance(value, Array)
    parts = list(value)
    is_own = not parts or parts[0] is None or isinstance(parts[0], int)
    is_own = is_own or (isinstance(parts[0], Dictionary) and parts[0].get("/Type") == Name.Page)
    if not is_own or any(isinstance(part, Dictionary | Array | String | Stream) for part in parts[1:]):
        raise Active(REMOTE)


def _destinations(tree: Object | None) -> None:
    once = _Once()
    pending = [] if tree is None else [_dictionary(tree, "its names")]
    while pending:
        node = pending.pop()
        if once.first(node):
            for destination in _array(node.get("/Names"), "its names")[1::2]:
                _destination(destination)
            pending.extend(_dictionary(kid, "its names") for kid in _array(node.get("/Kids"), "its names"))


def _bookmarks(first: Object) -> None:
    once = _Once()
    pending = [first]
    while pending:
        bookmark = pending.pop()
        if not once.first(bookmark):
            continue
        _allowed(bookmark, BOOKMARK)
        if "/A" in bookmark:
            _action(bookmark["/A"])
        if "/Dest" in bookmark:
            _destination(bookmark["/Dest"])
        pending.extend(_dictionary(bookmark[key], "a bookmark") for key in ("/First", "/Next") if key in bookmark)
