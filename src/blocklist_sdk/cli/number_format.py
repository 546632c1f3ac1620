"""A month's figures, for the eye."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Spread, Statistics


def figure_lines(found: "Statistics") -> list[str]:
    """A month for the eye; what is not told to everybody is left out."""
    lines = [found.month]
    for name in ("reports", "cases", "published", "enforced", "open", "overdue"):
        value = getattr(found, name)
        if value is not None:
            lines.append(f"  {name:<10} {value:>10,}")
    for kind, count in (found.decisions or {}).items():
        lines.append(f"  decided to {kind}: {count:,}")
    if found.decision_to_enforcement is not None:
        lines.append(f"  from decision to enforcement {_spread(found.decision_to_enforcement)}")
    if found.retraction_to_lifting is not None:
        lines.append(f"  from retraction to lifting {_spread(found.retraction_to_lifting)}")
    for each in found.recipients:
        receipts = ", ".join(f"{count:,} {outcome}" for outcome, count in each.receipts.items()) or "no receipts"
        lines.append(
            f"{each.recipient}, {each.feed}: {each.reports:,} reports, {each.published:,} published, "
            f"{each.retracted:,} retracted"
        )
        lines.append(f"  {receipts}; {each.open:,} open")
        lines.append(f"  from decision to enforcement {_spread(each.decision_to_enforcement)}")
        lines.append(f"  from retraction to lifting {_spread(each.retraction_to_lifting)}")
    return lines


def _spread(spread: "Spread") -> str:
    if spread.median_s is None or spread.p95_s is None:
        return "not measured yet"
    return f"{spread.median_s:,.0f} s in the median, {spread.p95_s:,.0f} s at the 95th percentile, of {spread.count:,}"
