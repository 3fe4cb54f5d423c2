"""Facts derived from a receipt, so that every view of a run says the same numbers and the same words.

This module must never format for one medium: it gives values and plain sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from topcoat.model import ImageResult, PackageChange, Reason, Receipt, Status, ancestry
from topcoat.model.status import OF_TASKS

DID = {"build": "built", "update": "updated", "reuse": "reused"}
"""Action → what became of an image on which it was done."""
NOT_DONE = tuple(status.word for status in OF_TASKS if status is not Status.DONE)
OUTCOMES = (*NOT_DONE, *DID.values())
"""What became of an image, worst first: the order in which views list them."""


def outcome(image: ImageResult) -> str:
    """One of ``OUTCOMES``: the action that was done, or the status that kept it from being done."""
    return DID.get(image.action, image.action) if image.status is Status.DONE else image.status.word


def by_outcome(images: Iterable[ImageResult]) -> dict[str, list[ImageResult]]:
    """Images per outcome in the order of ``OUTCOMES``, empty ones left out."""
    groups: dict[str, list[ImageResult]] = {name: [] for name in OUTCOMES}
    for image in images:
        groups.setdefault(outcome(image), []).append(image)
    return {name: group for name, group in groups.items() if group}


def seconds(image: ImageResult) -> float:
    """Time spent in the image's stages, without waiting between them."""
    return sum(end - start for _, start, end in image.stages)


def size(image: ImageResult) -> int:
    """Compressed bytes of all layers."""
    return sum(layer.size for layer in image.layers)


def size_delta(image: ImageResult) -> int | None:
    """Bytes more (or fewer) than the reference image; None when either size is unknown."""
    if image.reference_size is None or not image.layers:
        return None
    return size(image) - image.reference_size


@dataclass(frozen=True)
class Storage:
    """What the images of a run weigh in a registry, compressed bytes."""

    total: int
    """Sum of the images' sizes, each counted alone."""
    unique: int
    """Bytes that the registry holds: every layer once."""
    new: int
    """Unique bytes of layers that this run made."""


def storage(receipt: Receipt) -> Storage:
    """Sizes with and without sharing."""
    layers = {layer.digest: layer for image in receipt.images for layer in image.layers}
    fresh = {layer.digest: layer.size for image in receipt.images for layer in image.layers if layer.new}
    return Storage(sum(size(image) for image in receipt.images), sum(layer.size for layer in layers.values()), sum(fresh.values()))


def alone(receipt: Receipt) -> dict[str, int]:
    """For each image the bytes of layers that no other image of the run has: what the registry would save without it."""
    holders = Counter(digest for image in receipt.images for digest in {layer.digest for layer in image.layers})
    return {image.name: sum({layer.digest: layer.size for layer in image.layers if holders[layer.digest] == 1}.values()) for image in receipt.images}


def ways(receipt: Receipt) -> tuple[int, dict[str, list[str]]]:
    """How many updates were composed, and why others were not: reason → names of images, most first. Nothing where a run did not try."""
    reasons: dict[str, list[str]] = {}
    for image in receipt.images:
        if image.fallback:
            reasons.setdefault(image.fallback, []).append(image.name)
    ordered = dict(sorted(reasons.items(), key=lambda entry: (-len(entry[1]), entry[0])))
    return sum(image.method == "composed" for image in receipt.images), ordered


def ways_text(receipt: Receipt) -> str:
    """The same in one sentence, empty where a run did not try."""
    composed, reasons = ways(receipt)
    if not composed and not reasons:
        return ""
    text = f"{plural(composed, 'update')} composed without the image"
    if not reasons:
        return text
    why = "; ".join(f"{len(names)}: {reason}" for reason, names in list(reasons.items())[:3])
    more = f"; and {plural(len(reasons) - 3, 'other reason')}" if len(reasons) > 3 else ""
    return f"{text}, {sum(map(len, reasons.values()))} by a transaction ({why}{more})"


def changes(receipt: Receipt) -> dict[PackageChange, list[str]]:
    """Every package change of images that got done, with the images it happened in, sorted by package."""
    found: dict[tuple[str, str], tuple[PackageChange, list[str]]] = {}
    for image in receipt.images:
        if image.status is Status.DONE:
            for change in image.changes:
                found.setdefault(change.key, (change, []))[1].append(image.name)
    return dict(sorted(found.values(), key=lambda entry: (entry[0].name, entry[0].key)))


def gated(receipt: Receipt) -> dict[str, dict[str, object]]:
    """NEVRA of each gated package → its entry (project, commit, change_url)."""
    return {str(entry["package"]): dict(entry) for entry in receipt.gated}


def items(receipt: Receipt) -> list[Mapping[str, object]]:
    """The changes under test, the one under review last; entries without a mapping shape are dropped."""
    found = receipt.zuul.get("items") or ()
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, (list, tuple)) else []


def item_label(item: Mapping[str, object]) -> str:
    """``project change,patchset`` as Gerrit users write it, the project with its folder: two may end alike. Periodic items have a branch only."""
    project = item.get("project")
    name = project.get("name") or project.get("short_name") if isinstance(project, Mapping) else project
    change = item.get("change")
    if change is None:
        return f"{name} {item.get('branch') or item.get('ref') or ''}".strip()
    patchset = item.get("patchset")
    return f"{name} {change},{patchset}" if patchset else f"{name} {change}"


def critical_path(receipt: Receipt) -> list[str]:
    """The chain of parents with the most measured work, root first: with any number of workers the run takes at least that long.

    Empty when nothing took time; ties go to the earlier name, so that the answer is always the same.
    """
    images = {image.name: image for image in receipt.images}
    chains = [list(ancestry.chain(image.name, images)[::-1]) for image in receipt.images if image.stages]
    return min(chains, key=lambda path: (-sum(seconds(images[name]) for name in path), path), default=[])


def stands_on(receipt: Receipt, name: str) -> list[str]:
    """Names of the images that stand on this one, at any distance, in the receipt's order."""
    images = {image.name: image for image in receipt.images}
    return [image for image in images if name in ancestry.above(image, images)]


def is_covered(entry: Mapping[str, object]) -> bool:
    """Whether an entry of a receipt's coverage says that a package under test is where it must be, or that this was waived."""
    return not entry.get("wrong") and bool(entry.get("covered") or entry.get("waived_by"))


def uncovered(receipt: Receipt) -> list[dict[str, object]]:
    """Coverage entries that are neither installed somewhere nor waived, or installed at another version."""
    return [entry for entry in receipt.coverage if not is_covered(entry)]


def recheck_helps(receipt: Receipt) -> bool:
    """Whether everything that failed is the fault of infrastructure, so that the same change may pass the next time."""
    errors = [image.error for image in receipt.images if image.status is Status.FAILED] + ([receipt.error] if receipt.error else [])
    return bool(errors) and all(error is not None and error.get("recheck_helps") for error in errors)


def brief(text: object, limit: int = 320) -> str:
    """A message that fits a few lines: its head, and of a program's output the last lines, where the cause stands.

    Errors of programs carry up to 40 lines of output; shown whole they would push the next step off the screen.
    """
    words = " ".join(str(text).split())
    if len(words) <= limit:
        return words
    head = words[: limit // 3].rsplit(" ", 1)[0]
    tail = words[-(limit - len(head)) :]
    return f"{head} … {tail.split(' ', 1)[-1]}"


def signatures(image: ImageResult) -> str:
    """Who signed an image's packages, in a few words; whether anybody knows those keys is for ``topcoat verify --signatures`` to say."""
    keys = sum(1 for name in image.signers if name)
    parts = [f"signed by {plural(keys, 'key')}"] if keys else []
    if image.signers.get(""):
        parts.append(f"{image.signers['']:,} unsigned")
    return ", ".join(parts)


def next_step(error: Mapping[str, object]) -> str:
    """What the reader can do about an error; where the error does not say it, what its class allows to say."""
    if error.get("next_step"):
        return str(error["next_step"])
    if error.get("recheck_helps"):
        return "recheck; if it comes back, the end of the log tells what was waited for"
    return "read the end of the log, then repair the recipe or the change" if error.get("log") else ""


def place(where: object) -> str:
    """``file:line`` as it is in the repository: recipes lie elsewhere on a node, which helps nobody."""
    text = str(where or "")
    head, found, tail = text.rpartition("/container-images/")
    return f"container-images/{tail}" if found and head else text


def plural(count: int, word: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def bytes_text(count: float) -> str:
    """Bytes for people, powers of ten as registries and disks count: ``0 B``, ``12.3 kB``, ``1.4 GB``."""
    sign, count = ("-" if count < 0 else ""), abs(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{sign}{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{sign}{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def time_text(seconds_taken: float) -> str:
    """Durations for people: ``0.4 s``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds_taken < 59.95:
        return f"{seconds_taken:.1f} s"
    whole = round(seconds_taken)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def headline(receipt: Receipt) -> str:
    """The run in one sentence."""
    groups = {name: len(group) for name, group in by_outcome(receipt.images).items()}
    total = len(receipt.images)
    took = time_text(receipt.finished - receipt.started)
    did = [f"{groups[name]} {name}" for name in DID.values() if name in groups]
    not_done = [f"{groups[name]} {name}" for name in NOT_DONE if name in groups]
    if receipt.status is Status.RUNNING:
        return "The run has not ended, or was killed: nothing of it may be used."
    if receipt.status is Status.CANCELLED:
        return f"The run was cancelled after {took}: " + ", ".join(not_done + did) + "."
    if not total:
        return f"Nothing was done in {took}." if not receipt.error else "The run failed before any image was touched."
    if not_done:
        count = groups.get("failed", 0)
        lead = f"{count} of {plural(total, 'image')} failed" if count else f"{plural(total, 'image')}, but not all done"
        rest = ", ".join([part for part in not_done if not part.endswith(" failed")] + did)
        return f"{lead} in {took}" + (f"; {rest}." if rest else ".")
    if groups.keys() == {"reused"}:
        text = f"All {plural(total, 'image')} were up to date and reused in {took}" if total > 1 else f"The image was up to date and reused in {took}"
    else:
        text = f"{plural(total, 'image')} in {took}: " + ", ".join(did)
    if receipt.status is Status.FAILED:
        holes = len(uncovered(receipt))
        text += f"; but {plural(holes, 'gated package')} {'is' if holes == 1 else 'are'} not inside" if holes else "; the run failed all the same"
    return text + "."


def why(receipt: Receipt) -> str:
    """One sentence about the cause: which changes brought which packages or recipes, and how many images took them."""
    groups = by_outcome(receipt.images)
    projects = sorted({str(entry["project"]) for entry in receipt.gated if entry.get("project")})
    reasons: dict[str, int] = {}
    for image in receipt.images:
        if image.action != "reuse":
            reasons[image.reason] = reasons.get(image.reason, 0) + 1
    # the receipt of a newer topcoat may name a reason that is not known here
    phrases = {reason.code: reason.phrase for reason in Reason}
    parts: list[str] = []
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        one, many, rest = phrases.get(reason, ("is", "are", reason))
        about = f" ({', '.join(projects)})" if projects and reason == Reason.RPM_GATED.code else ""
        subject = plural(count, "image") if not parts else str(count)
        parts.append(f"{subject} {one if count == 1 else many} {rest}{about}")
    if not receipt.images and receipt.status is not Status.DONE:
        return "What to do with each image was not decided yet."
    if not parts:
        return "No recipe and no package of any image changed."
    reused, unchanged = len(groups.get("reused", ())), Reason.UNCHANGED.phrase
    tail = f"; {reused} {unchanged.one if reused == 1 else unchanged.many} {unchanged.rest}" if reused else ""
    return ", ".join(parts) + tail + "."
