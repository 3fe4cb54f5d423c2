"""Stands in for Zuul's action ``zuul_return`` outside of Zuul: keeps what a job returns in the same file and the same form.

This plugin must never talk to a server, and must work without topcoat on the path of the Ansible that runs it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_ADDED_UP = ("artifacts", "warnings", "redactions")


def merge(known: dict, new: dict) -> dict:
    """Mappings are merged, everything else is replaced."""
    merged = dict(known)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def add(known: dict, new: dict) -> dict:
    """Two calls of one job: as ``merge``, but the lists under ``zuul`` that Zuul adds up are added up, the newest first."""
    merged = merge(known, new)
    before, after = known.get("zuul"), new.get("zuul")
    if isinstance(before, dict) and isinstance(after, dict):
        for name in _ADDED_UP:
            if name in before or name in after:
                merged["zuul"][name] = [*(after.get(name) or []), *(before.get(name) or [])]
        comments = {}
        for source in (before, after):
            for path, entries in (source.get("file_comments") or {}).items():
                comments.setdefault(path, []).extend(entries)
        if comments:
            merged["zuul"]["file_comments"] = comments
    return merged


class ActionModule(ActionBase):
    """``zuul_return: {data: ..., secret_data: ..., path: ..., file: ...}``."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Add to the result file and let the play go on."""
        result = super().run(tmp, task_vars or {})
        arguments = self._task.args
        unknown = set(arguments) - {"data", "secret_data", "path", "file"}
        if unknown:
            raise AnsibleActionFail(f"zuul_return knows no {', '.join(sorted(unknown))}")
        new = {name: arguments.get(name) or {} for name in ("data", "secret_data")}
        if arguments.get("file"):
            with open(self._loader.get_real_file(arguments["file"]), encoding="utf-8") as stream:
                new["data"] = add(yaml.safe_load(stream) or {}, new["data"])
        for name, value in new.items():
            if not isinstance(value, dict):
                raise AnsibleActionFail(f"{name} of zuul_return must be a mapping")
        path = Path(arguments.get("path") or os.environ["ZUUL_RETURN_FILE"])
        known = {"data": {}, "secret_data": {}}
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
        both = {name: add(known.get(name) or {}, new[name]) for name in ("data", "secret_data")}
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(both, stream, default=str)
        temporary.replace(path)
        result["changed"] = True
        return result
