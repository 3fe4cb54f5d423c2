"""How values are written into a Containerfile so that the builder reads back exactly what was meant.

This module must never let a value start a new instruction: a newline in a value is a programming error here, the loader refused it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_PLAIN = re.compile(r"[A-Za-z0-9._/:@%+,=-]+")


def exec_form(command: Sequence[str]) -> str:
    """JSON exec form; builders expand no variables in it for ENTRYPOINT, CMD, RUN and HEALTHCHECK."""
    return json.dumps(list(command), ensure_ascii=False)


def pair(name: str, value: str) -> str:
    """``name="value"`` for LABEL and ENV, where builders expand ``$`` and read backslashes as escapes inside double quotes."""
    if "\n" in value or "\r" in value:
        raise ValueError(f"newline in the value of {name}")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'{name}="{escaped}"'


def run(line: str) -> str:
    """A RUN instruction for one shell line or script.

    Plain one-line commands stay readable in shell form. What a Containerfile parser could read otherwise (several lines, a trailing backslash, a
    here-document, a leading bracket or flag) goes into exec form with the shell spelled out, which means the same.
    """
    risky = "\n" in line or line.endswith("\\") or "<<" in line or line.lstrip()[:1] in ("[", "-", "#") or line != line.strip()
    return f"RUN {exec_form(['/bin/sh', '-c', line])}" if risky else f"RUN {line}"


def word(value: str) -> str:
    """A value for instructions that take one plain word (USER, WORKDIR, STOPSIGNAL); the loader only lets plain characters through."""
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"not a plain word: {value!r}")
    return value


def shell(value: str) -> str:
    """One word for /bin/sh, quoted only where needed."""
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"
