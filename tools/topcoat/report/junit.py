"""The run as JUnit XML: one test case an image and one a gated package, so that any CI server can list what failed.

This module must never emit a character that XML 1.0 forbids (its section 2.2): one control character in a log line makes the file unreadable.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from topcoat.model import Receipt, Status
from topcoat.process.files import write_whole
from topcoat.report import figures

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(value: object) -> str:
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match[0]):02x}", str(value))


def _failure(case: ElementTree.Element, tag: str, kind: str, message: str, details: str = "") -> None:
    element = ElementTree.SubElement(case, tag, {"type": _text(kind), "message": _text(message)})
    element.text = _text(details or message)


def to_xml(receipt: Receipt) -> str:
    """The document: content failures are ``failure``, infrastructure and internal ones ``error``, skipped and cancelled images ``skipped``."""
    root = ElementTree.Element("testsuites", {"name": "topcoat"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _text(f"images {receipt.profile} {receipt.tag}")})
    counts = {"failure": 0, "error": 0, "skipped": 0}
    for image in receipt.images:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": f"images.{_text(image.action)}", "name": _text(image.name), "time": f"{figures.seconds(image):.3f}"},
        )
        if image.status is Status.FAILED:
            error = image.error or {"class": "content", "what": image.sentence}
            tag = "failure" if error.get("class") in ("content", "usage") else "error"
            counts[tag] += 1
            details = (
                "\n".join(
                    f"{name}: {figures.place(error[name]) if name == 'where' else error[name]}"
                    for name in ("where", "what", "next_step", "log")
                    if error.get(name)
                )
                + f"\nrecheck: {'can help' if error.get('recheck_helps') else 'will not help'}"
            )
            _failure(case, tag, str(error.get("class")), str(error.get("what")), details)
        elif image.status is not Status.DONE:
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", {"message": _text(image.sentence)})
        output = ElementTree.SubElement(case, "system-out")
        output.text = _text(
            "\n".join([f"{image.reason}: {image.sentence}", *(str(change) for change in image.changes), *([image.digest] if image.digest else [])])
        )
    cover = ElementTree.SubElement(root, "testsuite", {"name": "coverage"})
    holes = {str(entry["package"]) for entry in figures.uncovered(receipt)}
    for entry in receipt.coverage:
        package = str(entry["package"])
        case = ElementTree.SubElement(cover, "testcase", {"classname": "coverage", "name": _text(package), "time": "0"})
        if package in holes:
            wrong = ", ".join(f"{item['image']} holds {item['evr']}" for item in entry.get("wrong") or [])  # type: ignore[attr-defined]
            _failure(case, "failure", "content", wrong or "installed in no published image")
    cover.set("tests", str(len(receipt.coverage)))
    cover.set("failures", str(len(holes)))
    suite.set("tests", str(len(receipt.images)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("time", f"{receipt.finished - receipt.started:.3f}")
    if receipt.error and not any(image.error == receipt.error for image in receipt.images):
        other = ElementTree.SubElement(root, "testsuite", {"name": "run", "tests": "1", "failures": "0", "errors": "1"})
        case = ElementTree.SubElement(other, "testcase", {"classname": "run", "name": "run", "time": "0"})
        _failure(case, "error", str(receipt.error.get("class")), str(receipt.error.get("what")), str(receipt.error.get("next_step") or ""))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def save(receipt: Receipt, path: Path) -> None:
    """Write the document."""
    write_whole(path, to_xml(receipt))
