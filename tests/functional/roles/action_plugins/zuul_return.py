"""Stand-in for Zuul's action plugin: keeps what jobs return in the file that Zuul would read, with Zuul's merge rules.

This plugin must never accept what Zuul would refuse: artifacts without name or url, or warnings that are no text.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from topcoat.zuul import merge_returned


class ActionModule(ActionBase):
    """``data`` and ``secret_data``, merged into ``$ZUUL_JOBDIR/work/results.json``."""

    def run(self, tmp=None, task_vars=None):
        """Merge and write."""
        result = super().run(tmp, task_vars)
        path = Path(os.environ["ZUUL_JOBDIR"]) / "work" / "results.json"
        content = json.loads(path.read_text()) if path.exists() else {"data": {}, "secret_data": {}}
        for part in ("data", "secret_data"):
            # Through JSON, as Ansible's own kinds of text are not plain ones.
            new = json.loads(json.dumps(self._task.args.get(part) or {}, default=str))
            if not isinstance(new, dict):
                raise AnsibleActionFail(f"zuul_return: {part} is not a mapping")
            content[part] = merge_returned(content[part], new)
        zuul = content["data"].get("zuul", {})
        for artifact in zuul.get("artifacts", []):
            if (
                not isinstance(artifact.get("name"), str)
                or not isinstance(artifact.get("url"), str)
                or not isinstance(artifact.get("metadata", {}), dict)
            ):
                raise AnsibleActionFail(f"zuul_return: not an artifact: {artifact}")
        for warning in zuul.get("warnings", []):
            if not isinstance(warning, str):
                raise AnsibleActionFail(f"zuul_return: not a warning: {warning}")
        path.write_text(json.dumps(content))
        return result
