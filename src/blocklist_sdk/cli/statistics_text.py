"""A month's statistics of an exchange as lines of text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Spread, Statistics


def statistics_lines(statistics: "Statistics") -> list[str]:
    """The figures as lines; those that the exchange does not show to the account are left out."""
    lines = [statistics.month]
    for name in ("reports", "cases", "published", "enforced", "open", "overdue"):
        value = getattr(statistics, name)
        if value is not None:
            lines.append(f"  {name:<10} {value:>10,}")
    for kind, count in (statistics.decisions or {}).items():
        lines.append(f"  decided to {kind}: {count:,}")
    if statistics.decision_to_enforcement is not None:
        lines.append(f"  from decision to enforcement {_spread(statistics.decision_to_enforcement)}")
    if statistics.retraction_to_lifting is not None:
        lines.append(f"  from retraction to lifting {_spread(statistics.retraction_to_lifting)}")
    for part in statistics.recipients:
        receipts = ", ".join(f"{count:,} {outcome}" for outcome, count in part.receipts.items()) or "no receipts"
        lines.append(
            f"{part.recipient}, {part.feed}: {part.reports:,} reports, {part.published:,} published, "
            f"{part.retracted:,} retracted"
        )
        lines.append(f"  {receipts}; {part.open:,} open")
        lines.append(f"  from decision to enforcement {_spread(part.decision_to_enforcement)}")
        lines.append(f"  from retraction to lifting {_spread(part.retraction_to_lifting)}")
    return lines


def _spread(spread: "Spread") -> str:
    if spread.median_s is None or spread.p95_s is None:
        return "not measured yet"
    return f"{spread.median_s:,.0f} s in the median, {spread.p95_s:,.0f} s at the 95th percentile, of {spread.count:,}"
