"""The last screen of a run: failures first with what to do, then what was done, why, how long, how many bytes, and the proof of coverage.

This module must never interpret a name or a message as markup: everything becomes ``Text``, control characters are shown, not sent.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from topcoat.model import ImageResult, PackageChange, Receipt, Status
from topcoat.report import figures

STYLES = dict.fromkeys(figures.NOT_DONE, "yellow") | {"built": "blue", "updated": "cyan", "reused": "dim", "failed": "bold red"}
MARKS = dict.fromkeys(figures.NOT_DONE, "-") | {"built": "+", "updated": "^", "reused": "=", "failed": "x"}
_MOST_NAMES = 6


def clean(text: object) -> str:
    """Text that cannot move the cursor, set colours or turn the line round.

    Control, format and lone surrogate characters are written as escapes, line ends as spaces.
    """

    def one(character: str) -> str:
        if character in "\n\t\r":
            return " "
        return character.encode("unicode_escape").decode() if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character

    return "".join(one(character) for character in str(text))


def some(names: Iterable[str], most: int = _MOST_NAMES) -> str:
    """The first few names, and how many more."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _bar(groups: dict[str, list[ImageResult]], width: int) -> Text:
    """One line whose parts are as long as the groups are large; each group that exists gets at least one cell."""
    total = sum(len(group) for group in groups.values())
    bar = Text()
    for name, group in groups.items():
        bar.append("━" * max(1, round(width * len(group) / total)), STYLES.get(name, ""))
    bar.truncate(width)
    return bar


def _failures(receipt: Receipt) -> list[RenderableType]:
    """One block for each failed image: which, what, what to do, whether a recheck helps."""
    blocks: list[RenderableType] = []
    failed = [image for image in receipt.images if image.status is Status.FAILED]
    errors: list[tuple[str, dict[str, object], list[str]]] = []
    for image in failed:
        skipped = {other.name for other in receipt.images if other.status is Status.SKIPPED}
        below = [other for other in figures.stands_on(receipt, image.name) if other in skipped]
        error = image.error or {"what": image.sentence}
        errors.append((image.name, error if error.get("where") else {**error, "where": image.where}, below))
    if receipt.error and not any(image.error == receipt.error for image in failed):
        errors.append((str(receipt.error.get("image") or "run"), receipt.error, []))
    for name, error, below in errors:
        block = Table.grid(padding=(0, 1))
        block.add_column(width=9, justify="right", style="dim")
        block.add_column(ratio=1)
        head = Text.assemble(("failed ", "bold red"), (clean(name), "bold"))
        block.add_row(Text("x", "bold red"), head)
        block.add_row("what", Text(clean(figures.brief(error.get("what", "")))))
        if error.get("where"):
            block.add_row("where", Text(clean(figures.place(error["where"]))))
        step = figures.next_step(error)
        if step:
            block.add_row("do", Text(clean(step), "bold"))
        block.add_row(
            "recheck", Text("can help: the change is not at fault", "green") if error.get("recheck_helps") else Text("will not help", "red")
        )
        if below:
            block.add_row("skipped", Text(f"{figures.plural(len(below), 'image')} that stand on it: {some(clean(item) for item in below)}", "yellow"))
        if error.get("log"):
            block.add_row("log", Text(clean(error["log"]), "dim"))
        blocks.append(Padding(block, (0, 0, 1, 0)))
    return blocks


def _images_table(groups: dict[str, list[ImageResult]]) -> Table:
    """Outcome, count, why, which ones."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=1)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for name, group in groups.items():
        reasons: dict[str, list[str]] = {}
        for image in group:
            reasons.setdefault(image.reason, []).append(image.name)
        detail = Text()
        if name == "reused":
            detail.append("re-tagged by digest, not a byte of a layer was moved", "dim")
        elif name in figures.NOT_DONE and name != Status.FAILED:
            detail.append(some(clean(image.name) for image in group))
        else:
            for index, (reason, names) in enumerate(sorted(reasons.items(), key=lambda entry: (-len(entry[1]), entry[0]))):
                detail.append("\n" if index else "")
                detail.append(f"{clean(reason)}: ", "dim")
                detail.append(some(clean(item) for item in names))
        style = STYLES.get(name, "")
        table.add_row(Text(MARKS.get(name, "?"), style), Text(str(len(group)), style or "bold"), Text(name, style), detail)
    return table


def _changes_table(changes: dict[PackageChange, list[str]], gated: dict[str, dict[str, object]], most: int) -> Table:
    """Package, from, to, origin, images."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading, whole in (("package", True), ("was", False), ("is", False), ("from", True)):
        table.add_column(heading, overflow="fold", no_wrap=whole)
    table.add_column("images", justify="right")
    rows = sorted(changes.items(), key=lambda entry: (str(entry[0].new) not in gated, -len(entry[1]), entry[0].name))
    for change, names in rows[:most]:
        origin = gated.get(str(change.new), {}).get("project") or change.repository or ""
        under_test = str(change.new) in gated
        table.add_row(
            Text(clean(change.name), "bold" if under_test else ""),
            Text(clean(change.old.evr) if change.old else "-", "dim"),
            Text(clean(change.new.evr) if change.new else "removed", "cyan" if change.new else "yellow"),
            Text(clean(origin), "green" if under_test else "dim"),
            str(len(names)),
        )
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most} more packages", "dim"), "", "", "", "")
    return table


class _Lines:
    """Lines of a label and a text that hangs beside it."""

    def __init__(self) -> None:
        self.table = Table.grid(padding=(0, 2))
        self.table.add_column(width=10, no_wrap=True, style="dim")
        self.table.add_column(ratio=1)

    def add(self, label: str, text: str | Text, style: str = "") -> None:
        """One line."""
        self.table.add_row(Text(label, style) if style else label, text if isinstance(text, Text) else Text(text))


def _holes_table(receipt: Receipt) -> Table:
    """Gated packages that no image holds, or that one holds at another version."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("not inside the images", style="red", overflow="fold")
    table.add_column("because", overflow="fold")
    for entry in figures.uncovered(receipt):
        wrong = entry.get("wrong") or []
        because = ", ".join(f"{item['image']} holds {item['evr']}" for item in wrong[:3]) if wrong else "no image has it"  # type: ignore[index]
        table.add_row(Text(clean(entry["package"])), Text(clean(because)))
    return table


def _proof(receipt: Receipt) -> str:
    """The proof of coverage in one sentence."""
    total = len(receipt.coverage)
    waived = sum(bool(entry.get("waived_by")) and not entry.get("covered") for entry in receipt.coverage)
    if total == 1:
        return f"the gated package {'need not be in any image' if waived else 'is inside the images'}"
    inside = "all of them are" if not waived else f"{total - waived} of them are"
    return f"{figures.plural(total, 'gated package')}: {inside} inside the images" + (f", {waived} need not be in any" if waived else "")


def _figures(receipt: Receipt) -> Table:
    """Proof, bytes, times, retries, warnings."""
    lines = _Lines()
    if receipt.coverage and not figures.uncovered(receipt):
        lines.add("proven", _proof(receipt), "bold green")
    moved = Text(figures.bytes_text(sum(image.bytes_pushed for image in receipt.images)), "bold")
    moved.append(" pushed", "not bold")
    held = figures.storage(receipt)
    if held.total:
        sizes = f"; the set weighs {figures.bytes_text(held.total)}, stored as {figures.bytes_text(held.unique)} because images share layers"
        moved.append(sizes, "not bold")
    lines.add("moved", moved)
    if ways := figures.ways_text(receipt):
        lines.add("updates", clean(ways))
    slow = sorted((image for image in receipt.images if image.action != "reuse" and image.stages), key=figures.seconds, reverse=True)[:3]
    if slow:
        lines.add("longest", clean(", ".join(f"{image.name} {figures.time_text(figures.seconds(image))}" for image in slow)))
    again = [image.name for image in receipt.images if image.attempts > 1 and image.status is Status.DONE]
    if again:
        lines.add("retried", f"{clean(some(again))} (worked at last)")
    for warning in receipt.warnings:
        lines.add("warning", clean(warning), "yellow")
    return lines.table


def summary(receipt: Receipt, *, width: int = 100, most_packages: int = 12) -> RenderableType:
    """The whole screen.

    :param width: cells of the bar and the rules; the console wraps the rest.
    """
    groups = figures.by_outcome(receipt.images)
    parts: list[RenderableType] = list(_failures(receipt))
    good = receipt.status is Status.DONE
    bad = receipt.status in (Status.FAILED, Status.RUNNING)
    mark = Text("✔ ", "bold green") if good else Text("✘ ", "bold red") if bad else Text("! ", "bold yellow")
    parts.append(Text.assemble(mark, (clean(figures.headline(receipt)), "bold")))
    if groups:
        parts.append(_bar(groups, width))
    about = _Lines()
    tested = figures.items(receipt)
    if tested:
        about.add("under test", clean(" <- ".join(figures.item_label(item) for item in reversed(tested))))
    about.add("why", clean(figures.why(receipt)))
    parts += [about.table, Text("")]
    if groups:
        parts += [_images_table(groups), Text("")]
    changes = figures.changes(receipt)
    if changes:
        parts += [_changes_table(changes, figures.gated(receipt), most_packages), Text("")]
    if figures.uncovered(receipt):
        parts += [_holes_table(receipt), Text("")]
    parts.append(_figures(receipt))
    if receipt.status is Status.FAILED:
        helps = figures.recheck_helps(receipt)
        last = "A recheck can help: only infrastructure failed." if helps else "A recheck alone will not help: see what to do above."
        parts += [Text(""), Text(last, "bold")]
    return Group(*parts)


def show(receipt: Receipt, console: Console | None = None) -> None:
    """Print the summary; where there is no terminal to measure (a CI console, a file) lines are 120 wide."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 120)
    console.print(summary(receipt, width=min(console.width, 100)))
