"""Sizes as a picture: one bar an image, what it shares and what it alone has; a tick marks the reference.

This module must never write a file; it returns the text of an SVG without outside links, for a page or a file.
"""

from __future__ import annotations

from html import escape

from topcoat.inspection.sizes import SizeReport, human

_ROW, _LABEL, _BAR, _RIGHT, _TOP = 18, 220, 520, 170, 46
_SHARED, _OWN, _TICK = "#4c78a8", "#f58518", "#222222"


def svg(report: SizeReport) -> str:
    """Horizontal bars, largest image first; each bar has its figures as a tooltip."""
    images = sorted(report.images, key=lambda image: (-image.total, image.name))
    widest = max((image.total for image in images), default=0) or 1
    width, height = _LABEL + _BAR + _RIGHT, _TOP + _ROW * len(images) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f"<title>Compressed sizes of {len(images)} images</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="16" font-weight="bold">{human(report.summed)} in sum, {human(report.unique)} stored after sharing</text>',
    ]
    for x, colour, words in ((8, _SHARED, "shared with other images"), (190, _OWN, "this image alone")):
        parts.append(f'<rect x="{x}" y="25" width="10" height="10" fill="{colour}"/><text x="{x + 15}" y="34">{words}</text>')
    parts.append(f'<rect x="330" y="24" width="2" height="12" fill="{_TICK}"/><text x="337" y="34">size of the reference</text>')
    for number, image in enumerate(images):
        y = _TOP + _ROW * number
        shared = _BAR * (image.total - image.own) / widest
        own = _BAR * image.own / widest
        change = "" if image.delta in (None, 0) else f" ({'+' if (image.delta or 0) > 0 else ''}{human(image.delta or 0)})"
        tooltip = f"{image.name}: {human(image.total)}, of it {human(image.own)} alone{change}"
        parts.append(f"<g><title>{escape(tooltip)}</title>")
        parts.append(f'<text x="{_LABEL - 6}" y="{y + 12}" text-anchor="end">{escape(image.name)}</text>')
        parts.append(f'<rect x="{_LABEL}" y="{y + 2}" width="{shared:.1f}" height="12" fill="{_SHARED}"/>')
        parts.append(f'<rect x="{_LABEL + shared:.1f}" y="{y + 2}" width="{own:.1f}" height="12" fill="{_OWN}"/>')
        if image.reference is not None:
            tick = _LABEL + min(_BAR * image.reference / widest, _BAR + 8)
            parts.append(f'<rect x="{tick:.1f}" y="{y}" width="2" height="16" fill="{_TICK}"/>')
        parts.append(f'<text x="{_LABEL + _BAR + 14}" y="{y + 12}">{escape(human(image.total) + change)}</text></g>')
    return "\n".join([*parts, "</svg>"]) + "\n"
