"""The pictures of the reviewer's page as SVG text: timeline, storage bars and the sizes of images.

This module must never format a value into markup without ``Markup.format``, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from topcoat.model import ImageResult, Receipt, Status
from topcoat.report import figures
from topcoat.report.console import clean

_WIDTH = 1000
_LABEL = 190
_ROW = 17
_MOST_ROWS = 160


def ticks(longest: float, most: int = 8) -> list[float]:
    """Round positions from 0 up to ``longest`` (exclusive end), at most ``most`` of them: steps of 1, 2 or 5 times a power of ten."""
    if longest <= 0:
        return [0.0]
    raw = longest / most
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [index * step for index in range(math.floor(longest / step) + 1)]


def timeline_rows(receipt: Receipt) -> tuple[list[ImageResult], int]:
    """Images worth a row (those that did more than move a tag), by start, and how many were left out because there are too many."""
    path = set(figures.critical_path(receipt))
    busy = [image for image in receipt.images if image.stages and (image.action != "reuse" or image.status is not Status.DONE or image.name in path)]
    kept = sorted(busy, key=lambda image: (image.name not in path, -figures.seconds(image)))[:_MOST_ROWS]
    return sorted(kept, key=lambda image: (image.stages[0][1], image.name)), len(busy) - len(kept)


def timeline(receipt: Receipt) -> Markup:
    """One row an image, one bar a stage; the critical path is outlined and its names are bold. Empty when nothing took time."""
    rows, _ = timeline_rows(receipt)
    if not rows:
        return Markup("")
    path = set(figures.critical_path(receipt))
    start = min(receipt.started, *(image.stages[0][1] for image in rows))
    end = max(receipt.finished, *(image.stages[-1][2] for image in rows))
    span = max(end - start, 0.001)
    scale = (_WIDTH - _LABEL - 70) / span
    height = (len(rows) + 2) * _ROW
    parts = [
        Markup(
            '<svg class="timeline" viewBox="0 0 {} {}" role="img" aria-labelledby="timeline-title timeline-text">'
            '<title id="timeline-title">Timeline</title>'
            '<desc id="timeline-text">When each image was worked on; the table of images has the same times as text.</desc>'
        ).format(_WIDTH, height)
    ]
    for moment in ticks(span):
        x = _LABEL + moment * scale
        parts.append(Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, _ROW, height))
        parts.append(Markup('<text class="tick" x="{:.1f}" y="11">{}</text>').format(x, f"{moment:g} s" if span < 120 else figures.time_text(moment)))
    for index, image in enumerate(rows):
        y = (index + 1) * _ROW + 2
        outcome = figures.outcome(image)
        critical = " critical" if image.name in path else ""
        parts.append(Markup('<a href="#image-{}"><g class="bar {}{}">').format(image.name, outcome, critical))
        took = figures.time_text(figures.seconds(image))
        tried = f", {image.attempts} attempts" if image.attempts > 1 else ""
        parts.append(Markup("<title>{}: {} in {}{}</title>").format(clean(image.name), outcome, took, tried))
        parts.append(Markup('<text class="name" x="{}" y="{}">{}</text>').format(_LABEL - 8, y + 11, _short(clean(image.name))))
        for number, (_stage, begin, stop) in enumerate(image.stages):
            x, width = _LABEL + (begin - start) * scale, max((stop - begin) * scale, 1.5)
            parts.append(
                Markup('<rect class="stage-{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="1.5"/>').format(min(number, 1), x, y, width, _ROW - 4)
            )
        last = _LABEL + (image.stages[-1][2] - start) * scale
        parts.append(Markup('<text class="took" x="{:.1f}" y="{}">{}</text></g></a>').format(last + 5, y + 11, took))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def sizes(receipt: Receipt) -> Markup:
    """One bar an image, the largest first: what it shares with others, what it alone has, and a tick where the reference image ended."""
    images = sorted((image for image in receipt.images if image.layers), key=lambda image: (-figures.size(image), image.name))[:_MOST_ROWS]
    if not images:
        return Markup("")
    alone = figures.alone(receipt)
    longest = max(max(figures.size(image), image.reference_size or 0) for image in images) or 1
    scale = (_WIDTH - _LABEL - 150) / longest
    parts = [
        Markup('<svg class="sizes" viewBox="0 0 {} {}" role="img"><title>Compressed sizes of {}</title>').format(
            _WIDTH, len(images) * _ROW + 4, figures.plural(len(images), "image")
        )
    ]
    for number, image in enumerate(images):
        y = number * _ROW + 2
        total, own = figures.size(image), alone[image.name]
        delta = figures.size_delta(image)
        change = f" ({'+' if delta > 0 else ''}{figures.bytes_text(delta)})" if delta else ""
        words = f"{image.name}: {figures.bytes_text(total)}, of it {figures.bytes_text(own)} in no other image{change}"
        parts.append(
            Markup('<g><title>{}</title><text class="name" x="{}" y="{}">{}</text>').format(
                clean(words), _LABEL - 8, y + 11, _short(clean(image.name))
            )
        )
        shared = (total - own) * scale
        for style, x, width in (("shared", _LABEL, shared), ("own", _LABEL + shared, own * scale)):
            parts.append(Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(style, x, y + 1, width, _ROW - 5))
        if image.reference_size:
            parts.append(
                Markup('<rect class="reference" x="{:.1f}" y="{}" width="2" height="{}"/>').format(
                    _LABEL + image.reference_size * scale - 1, y - 1, _ROW - 1
                )
            )
        end = _LABEL + max(total, image.reference_size or 0) * scale
        parts.append(Markup('<text class="took" x="{:.1f}" y="{}">{}{}</text></g>').format(end + 6, y + 11, figures.bytes_text(total), change))
    return Markup("").join([*parts, Markup("</svg>")])


def _short(text: str, most: int = 27) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def bars(rows: Sequence[tuple[str, int, str, str]]) -> Markup:
    """Horizontal bars: (label, bytes, class, note). Labels stand above the bars, so that long ones fit."""
    longest = max((count for _, count, _, _ in rows), default=0) or 1
    height = len(rows) * 34
    parts = [Markup('<svg class="bars" viewBox="0 0 600 {}" role="img"><title>Storage</title>').format(height)]
    for index, (label, count, style, note) in enumerate(rows):
        y = index * 34
        parts.append(
            Markup(
                '<text x="0" y="{}">{}</text><text class="number" x="600" y="{}">{}{}</text>'
                '<rect class="track" x="0" y="{}" width="600" height="9" rx="4.5"/><rect class="{}" x="0" y="{}" width="{:.1f}" height="9" rx="4.5"/>'
            ).format(
                y + 12,
                clean(label),
                y + 12,
                figures.bytes_text(count),
                f" · {note}" if note else "",
                y + 17,
                style,
                y + 17,
                max(600 * count / longest, 2 if count else 0),
            )
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)
