"""Draws histograms and bars as SVG, for a page without scripts; the page's CSS colours them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from service.cli.look.report import Count, Numbers
from service.cli.look.wording import short_number

_WIDTH, _GAP = 240, 1.0


def histogram(numbers: Numbers, height: int = 64, width: int = _WIDTH) -> str:
    """Return a histogram with its bounds below; each bar has its range and count as a tooltip."""
    counts, edges = numbers.histogram.counts, numbers.histogram.edges
    # Bins of single whole numbers reach half a unit to both sides.
    margin = 0.5 if edges[0] < numbers.low else 0.0
    most = max(counts, default=0) or 1
    step = width / max(1, len(counts))
    bars = []
    for place, count in enumerate(counts):
        tall = 0 if not count else max(1.5, height * count / most)
        bounds = (edges[place] + margin, edges[place + 1] - margin)
        tip = f"{' to '.join(dict.fromkeys(map(short_number, bounds)))}: {count:,}"
        bars.append(
            f'<rect class="bar" x="{place * step:.2f}" y="{height - tall:.2f}" width="{max(1, step - _GAP):.2f}" '
            f'height="{tall:.2f}" rx="1"><title>{escape(tip)}</title></rect>'
        )
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height + 14}" role="img" aria-label="histogram">{"".join(bars)}'
        f'<line class="axis" x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
        f'<text x="0" y="{height + 12}">{short_number(numbers.low)}</text>'
        f'<text x="{width}" y="{height + 12}" text-anchor="end">{short_number(numbers.high)}</text></svg>'
    )


def bars(rows: Sequence[tuple[str, float, str]], *, most: float | None = None) -> str:
    """Return horizontal bars, one per row.

    Args:
        rows: label, length and the words at the bar's end.
        most: the length of a full bar; None: the longest.
    """
    full = most or max((abs(length) for _, length, _ in rows), default=0) or 1
    lines = []
    for label, length, words in rows:
        share = min(1.0, abs(length) / full)
        sign = " negative" if length < 0 else ""
        lines.append(
            f'<div class="row"><span class="label" title="{escape(label)}">{escape(label)}</span>'
            f'<svg class="track" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="bar{sign}" width="{100 * share:.2f}" height="10"/></svg>'
            f'<span class="words">{escape(words)}</span></div>'
        )
    return f'<div class="bars">{"".join(lines)}</div>'


def count_bars(counts: Sequence[Count], num: int, total: int) -> str:
    """Return bars of how often values occur, the first `num` of them."""
    rows = [
        (each.value or "(empty)", float(each.count), f"{each.count:,} · {100 * each.count / max(1, total):.3g} %")
        for each in counts[:num]
    ]
    rest = f'<p class="quiet">and {len(counts) - num:,} more</p>' if len(counts) > num else ""
    return bars(rows) + rest
