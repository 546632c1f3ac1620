"""A statement as one HTML page, for screen and paper: no scripts, fonts or images, and nothing is fetched.

Every word of it is in `statement_texts`.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final, get_args

from blocklist_sdk.enforcement.statement import NO_REASON, OTHER_REASONS, OperationFigures, ReasonFigures, Statement
from blocklist_sdk.enforcement.statement_chart import day_chart
from blocklist_sdk.enforcement.statement_texts import TEXTS, Language
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.release.release_id import FIRST_ERA
from blocklist_sdk.texts import displayable

_REASONS_SHOWN: Final = 10
"""How many reasons have a line of their own; JSON and CSV have all of them."""

_STYLE: Final = """
:root { color-scheme: light dark; --rule: #8884; --soft: #8881; --block: #3b7dd8; --lift: #d8823b; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .8rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; }
p { margin: .3rem 0; }
dl { display: grid; gap: .15rem 1.5rem; margin: 0; }
dl { grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
dl div { display: flex; gap: .6rem; }
dt { opacity: .75; flex: 0 0 7rem; }
.who { grid-column: 1 / -1; }
dd { margin: 0; overflow-wrap: anywhere; }
.summary { font-size: 1.15rem; border-left: .25rem solid var(--block); padding: .4rem .9rem; margin: 1.1rem 0; }
.alert { border-left: .25rem solid #c33; padding: .4rem .9rem; background: var(--soft); margin: .8rem 0; }
figcaption .key + span, .note { opacity: .75; }
.note { font-size: .9em; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { vertical-align: bottom; font-size: .93em; hyphens: auto; }
.wide th:first-child { min-width: 10.5rem; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
th:first-child { text-align: left; overflow-wrap: break-word; }
figure { margin: 0; }
svg { display: block; width: calc(100% - 3.4rem); height: 13rem; margin: .5rem 0 1.6rem 3.4rem; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
.block { fill: var(--block); }
.lift { fill: var(--lift); }
.line { stroke: currentColor; stroke-opacity: .25; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 0; }
.key + span { margin-right: 1.2em; }
.signature { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.5rem; margin-top: 3.2rem; }
.signature p { border-top: 1px solid currentColor; padding-top: .2rem; font-size: .9em; }
@media screen and (max-width: 40rem) {
  body { margin: 1rem auto; }
  table { font-size: .87em; }
  th, td { padding: .25rem .3rem; hyphens: auto; }
  .wide th:first-child { min-width: 0; }
  .wide thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .wide tr { display: grid; grid-template-columns: repeat(3, 1fr); border-bottom: 1px solid var(--rule); }
  .wide tbody, .wide tfoot { display: block; }
  .wide th, .wide td { border: 0; text-align: left; padding: .15rem .3rem .15rem 0; }
  .wide tbody th { grid-column: 1 / -1; font-weight: 600; }
  .wide tfoot th { grid-column: 1 / -1; }
  .wide td::before { content: attr(data-label); display: block; font-weight: 400; font-size: .8em; opacity: .75; }
  .signature { grid-template-columns: 1fr; gap: 2.8rem; }
}
@page {
  size: A4; margin: 12mm 15mm 15mm;
  @bottom-left { content: "PAGE_TITLE"; font: 8pt system-ui, sans-serif; }
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt system-ui, sans-serif; }
}
@media print {
  :root { color-scheme: light; }
  body { margin: 0; padding: 0; max-width: none; font-size: 8.8pt; line-height: 1.22; }
  dl { grid-template-columns: 1fr 1fr; gap: 0 6mm; }
  dt { flex-basis: 22mm; }
  h1 { font-size: 15pt; margin-bottom: 2mm; }
  h2 { break-after: avoid; font-size: 10pt; margin: 2.4mm 0 .5mm; }
  p { margin: .5mm 0; }
  th, td { padding: .4mm 2mm; }
  .summary, .alert { margin: 2mm 0; padding: .8mm 3mm; }
  .summary { font-size: 9.5pt; }
  .note { font-size: 7.5pt; }
  tr, figure, .tail, .summary, .alert { break-inside: avoid; }
  table { break-inside: avoid; }
  .long { break-inside: auto; }
  svg { height: 24mm; margin: 2mm 0 6.5mm 3.4rem; }
  svg text { font-size: 8pt; }
  details { display: none; }
  .signature { margin-top: 10mm; }
  .block, .lift, .key, .summary, .alert { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def statement_html(statement: Statement, *, language: Language = "en") -> str:
    """The statement as a page that needs no other file.

    Args:
        statement: from `monthly_statement`.
        language: of the page: ``en`` or ``id``, Bahasa Indonesia. What the sink says stays as it is.

    Raises:
        InvalidInput: there are no texts in this language.
    """
    if language not in TEXTS:
        raise InvalidInput(f"the language of a statement is {' or '.join(get_args(Language))}, not {language!r}")
    return "".join(_Page(statement, language).pieces())


class _Page:
    """One page."""

    def __init__(self, statement: Statement, language: Language) -> None:
        self._statement, self._language = statement, language
        self._texts = TEXTS[language]
        year, month = map(int, statement.month.split("-"))
        self._month = self._texts.month_of(year, month)

    def pieces(self) -> Iterator[str]:
        """The page, piece by piece."""
        statement, texts = self._statement, self._texts
        title = texts.title.format(month=self._month)
        # In a string of CSS; a feed's name has only letters, digits and hyphens.
        footer = "".join(each for each in f"{statement.feed} · {self._month}" if each.isalnum() or each in " ·-_")
        yield f"""<!DOCTYPE html>
<html lang="{self._language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(f"{title} – {statement.feed}")}</title>
<style>{_STYLE.replace("PAGE_TITLE", footer)}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<dl>
"""
        for name, value in self._about():
            kind = ' class="who"' if name in (texts.organisation, texts.contact) else ""
            yield f"<div{kind}><dt>{escape(name)}</dt><dd>{escape(displayable(value))}</dd></div>\n"
        yield "</dl>\n"
        yield from (f'<p class="alert">{escape(text)}</p>\n' for text in self._alerts())
        yield '<div class="summary">\n'
        yield from (f"<p>{escape(text)}</p>\n" for text in self._summary())
        yield "</div>\n"
        yield from self._outcomes()
        yield from day_chart(statement.days, texts)
        yield from self._categories()
        yield from self._reasons()
        yield '<div class="tail">\n'
        if notes := list(self._notes()):
            yield f"<h2>{escape(texts.notes)}</h2>\n"
            yield from (f"<p>{escape(text)}</p>\n" for text in notes)
        yield f'<section class="signature" aria-label="{escape(texts.signature)}">\n'
        for text in (texts.place_and_date, texts.name_and_position, texts.signed):
            yield f"<p>{escape(text)}</p>\n"
        yield "</section>\n</div>\n</main>\n</body>\n</html>\n"

    def _about(self) -> Iterator[tuple[str, str]]:
        statement, texts = self._statement, self._texts
        if statement.organisation is not None:
            yield texts.organisation, statement.organisation
        if statement.contact is not None:
            yield texts.contact, statement.contact
        days = texts.span(statement.days[0].day, statement.days[-1].day)
        yield texts.period, days if statement.is_whole else texts.so_far.format(days=days)
        yield texts.made, texts.moment_of(statement.made_at)
        yield texts.feed, statement.feed
        yield texts.sink, statement.sink
        ends = (statement.first_era, statement.first_serial), (statement.last_era, statement.last_serial)
        parts = [
            texts.number(serial) if era in (None, FIRST_ERA) else f"{era}.{serial}"
            for era, serial in dict.fromkeys(ends)
            if serial is not None
        ]
        if parts:
            yield texts.releases, "–".join(parts)

    def _alerts(self) -> Iterator[str]:
        """Warnings that a reader must not miss."""
        if self._statement.is_shadow:
            yield self._texts.shadow
        unblock = self._statement.operations["unblock"]
        if stuck := unblock.refused + unblock.set_aside:
            yield self._texts.counted(stuck, self._texts.stuck)
        if unblock.open:
            yield self._texts.counted(unblock.open, self._texts.open_unblocks)

    def _summary(self) -> Iterator[str]:
        """The month in two or three sentences, true for any figures."""
        statement, texts = self._statement, self._texts
        block, unblock = statement.operations["block"], statement.operations["unblock"]
        total = block.carried + block.received
        if total:
            nouns = texts.numbers_and_ranges if statement.has_ranges else texts.numbers
            done = texts.would_be_blocked if statement.is_shadow else texts.blocked
            sentence = self._filled(done, block, noun=nouns[0 if total == 1 else 1]) + self._half(block) + "."
            rest = [
                f"{texts.figures[name].lower()} {texts.number(getattr(block, name))}"
                for name in ("nothing_to_do", "refused", "set_aside", "overtaken", "open")
                if getattr(block, name)
            ]
            if rest and block.enforced:
                sentence += f" {texts.the_rest.format(n=texts.number(total - block.enforced), parts=', '.join(rest))}"
            elif rest:
                sentence += f" {', '.join(rest).capitalize()}."
            if block.carried:
                sentence += f" {texts.counted(block.carried, texts.carried_over)}"
            yield sentence
        else:
            yield texts.nothing_to_block
        if total := unblock.carried + unblock.received:
            done = (texts.would_be_lifted if statement.is_shadow else texts.lifted)[0 if total == 1 else 1]
            yield self._filled(done, unblock) + self._half(unblock) + "."

    def _filled(self, text: str, figures: OperationFigures, *, noun: str = "") -> str:
        texts, total = self._texts, figures.carried + figures.received
        return text.format(
            done=texts.number(figures.enforced),
            all=texts.number(total),
            noun=noun,
            share=texts.share(figures.enforced, total),
        )

    def _half(self, figures: OperationFigures) -> str:
        """How long they took; empty if the times are not those of the changes that were done."""
        time, texts = figures.time, self._texts
        if not time.count or time.count != figures.enforced:
            return ""
        return (texts.within if time.count == 1 else texts.half_within).format(time=texts.duration(time.median_s))

    def _outcomes(self) -> Iterator[str]:
        texts = self._texts
        shown = {
            name: figures for name, figures in self._statement.operations.items() if figures.carried or figures.received
        }
        if not shown:
            return
        labels = {
            name: label
            for name, label in texts.figures.items()
            if name == "received" or any(getattr(figures, name) for figures in shown.values())
        }
        notes = [texts.explanations[name] for name in labels if name in texts.explanations]
        if "enforced" in labels and "unblock" in shown:
            labels["enforced"] = texts.lifted_too
        rows = [
            (label, *(texts.number(getattr(figures, name)) for figures in shown.values()))
            for name, label in labels.items()
        ]
        times = [figures.time for figures in shown.values()]
        if any(time.count for time in times):
            notes.append(texts.times_note)
            rows.append((texts.half_done, *(texts.duration(time.median_s) for time in times)))
            rows.append((texts.most_done, *(texts.duration(time.p95_s) for time in times)))
        yield f"<h2>{escape(texts.outcomes)}</h2>\n"
        yield from _table(("", *(texts.operations[name] for name in shown)), rows)
        yield f'<p class="note">{escape(" ".join(notes))}</p>\n'

    def _categories(self) -> Iterator[str]:
        statement, texts = self._statement, self._texts
        labels = {name: label[:1].lower() + label[1:] for name, label in texts.figures.items()}
        columns = {
            labels["carried"]: [each.carried for each in statement.categories],
            labels["received"]: [each.received for each in statement.categories],
            texts.category_blocked: [each.blocked for each in statement.categories],
            labels["refused"]: [each.refused for each in statement.categories],
            labels["nothing_to_do"]: [each.nothing_to_do for each in statement.categories],
            labels["overtaken"]: [each.overtaken for each in statement.categories],
            texts.waiting: [each.open + each.set_aside for each in statement.categories],
            texts.category_lifted: [each.lifted for each in statement.categories],
        }
        always = (labels["received"], texts.category_blocked)
        shown = {label: values for label, values in columns.items() if any(values) or label in always}
        if not statement.categories:
            return
        names = [texts.categories.get(each.category, each.category) for each in statement.categories]
        rows = [(name, *(texts.number(values[place]) for values in shown.values())) for place, name in enumerate(names)]
        total = (texts.total, *(texts.number(sum(values)) for values in shown.values())) if len(rows) > 1 else None
        yield f"<h2>{escape(texts.by_category)}</h2>\n"
        yield from _table((texts.category, *shown), rows, total=total, kind="wide long" if len(rows) > 20 else "wide")

    def _reasons(self) -> Iterator[str]:
        statement, texts = self._statement, self._texts
        if not statement.reasons:
            return
        rows = [self._reason(why) for why in statement.reasons[:_REASONS_SHOWN]]
        if left := statement.reasons[_REASONS_SHOWN:]:
            rows.append((texts.other_reasons, "–", "–", texts.number(sum(why.count for why in left))))
        yield f"<h2>{escape(texts.reasons)}</h2>\n"
        yield from _table((texts.reason, texts.change, texts.outcome, texts.count), rows, kind="wide")

    def _reason(self, why: ReasonFigures) -> tuple[str, str, str, str]:
        texts = self._texts
        reason = {NO_REASON: texts.no_reason, OTHER_REASONS: texts.other_reasons}.get(why.reason, why.reason)
        outcome = texts.set_aside if why.outcome == "failed" else texts.refused
        return reason, texts.kinds[why.operation], outcome, texts.number(why.count)

    def _notes(self) -> Iterator[str]:
        statement, texts = self._statement, self._texts
        if statement.receipts_waiting:
            yield texts.counted(statement.receipts_waiting, texts.receipts_waiting)
        elif statement.first_serial is not None:
            yield texts.receipts_done
        if statement.receipts_refused:
            yield texts.counted(statement.receipts_refused, texts.receipts_refused)
        repairs = statement.repairs
        if total := repairs.carried + repairs.received:
            counts = {name: texts.number(getattr(repairs, name)) for name in repairs.__slots__}
            yield texts.repairs[0 if total == 1 else 1].format(n=texts.number(total), **counts)
        if statement.own_decisions:
            yield texts.counted(statement.own_decisions, texts.own_decisions)


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None, kind: str = ""
) -> Iterator[str]:
    """A table; the roles stay where a narrow screen shows its cells otherwise."""
    yield f'<table role="table" class="{kind}">\n<thead role="rowgroup"><tr role="row">'
    yield "".join(f'<th scope="col" role="columnheader">{escape(cell)}</th>' for cell in head)
    yield "</tr></thead>\n"
    yield '<tbody role="rowgroup">\n'
    yield from (_row(head, row) for row in rows)
    yield "</tbody>\n"
    if total is not None:
        yield f'<tfoot role="rowgroup">\n{_row(head, total)}</tfoot>\n'
    yield "</table>\n"


def _row(head: Sequence[str], row: Sequence[str]) -> str:
    cells = "".join(
        f'<td role="cell" data-label="{escape(label)}">{escape(cell)}</td>'
        for label, cell in zip(head[1:], row[1:], strict=True)
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{escape(row[0])}</th>{cells}</tr>\n'
