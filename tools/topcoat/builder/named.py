"""Which images a Containerfile names: a build has no registry in reach, so they are fetched before.

This module must never read a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(\w+)(?:=(.*))?", re.IGNORECASE)
_OPTIONS = re.compile(r"(?:COPY|ADD|RUN)((?:\s+--\S+)+)", re.IGNORECASE)
_OTHER = re.compile(r"(?:--|,|=)from=([^\s,]+)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def images(containerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """The images that a Containerfile starts from or copies out of, in order, each once; its own stages and ``scratch`` are none.

    :param arguments: build arguments; they go before the defaults of ARG lines.
    """
    values: dict[str, str] = {}
    stages: set[str] = set()
    found: list[str] = []

    def needs(name: str) -> None:
        name = _VARIABLE.sub(lambda match: values.get(match[1] or match[2], ""), name.strip("\"'"))
        if name and name not in found and name.lower() not in stages and name != "scratch" and not name.isdigit():
            found.append(name)

    for line in re.sub(r"\\\n\s*", " ", containerfile).splitlines():
        text = line.strip()
        if match := _ARG.fullmatch(text):
            default = (match[2] or "").strip("\"'")
            values.setdefault(match[1], arguments.get(match[1], default))
        elif match := _FROM.fullmatch(text):
            needs(match[1])
            if match[2]:
                stages.add(match[2].lower())
        elif match := _OPTIONS.match(text):
            for other in _OTHER.finditer(match[1]):
                needs(other[1])
    return found
