"""Checks that no job, template, role or variable is undocumented, and that the documents name nothing that does not exist.

This script must never need anything but PyYAML: it runs in the documentation's environment.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Variables that the Zuul world knows by these names, so they carry no role's prefix.
SHARED = frozenset({"buildset_registry", "container_registry_credentials", "zuul_use_fetch_output"})
# Roles whose variables have another prefix than their name, with the reason.
PREFIXES = {"use-topcoat": "topcoat"}  # Every role shares them.
_ROLEVAR = re.compile(r"^\.\. zuul:rolevar:: (\S+)$", re.MULTILINE)
_NESTED = re.compile(r"^\s+\.\. zuul:jobvar:: (\S+)$", re.MULTILINE)
_REFERENCE = re.compile(r":zuul:(job|role|rolevar):`([^`]+)`")


def _load(path: Path) -> object:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class Sources:
    """What the repository defines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stanzas = [
            (path, kind, content) for path in sorted((root / "zuul.d").rglob("*.yaml")) for stanza in _load(path) for kind, content in stanza.items()
        ]
        self.jobs = {content["name"]: content for _, kind, content in self.stanzas if kind == "job"}
        self.templates = {content["name"]: content for _, kind, content in self.stanzas if kind == "project-template"}
        self.roles = sorted(path.name for path in (root / "roles").iterdir() if path.is_dir())

    def yaml_of(self, role: str, path: str) -> dict[str, object]:
        """One YAML file of a role, empty when it is missing."""
        found = self.root / "roles" / role / path
        return (_load(found) or {}) if found.is_file() else {}

    def readme(self, role: str) -> str:
        """The README of a role, empty when it is missing."""
        found = self.root / "roles" / role / "README.rst"
        return found.read_text(encoding="utf-8") if found.is_file() else ""

    def inputs(self, role: str) -> set[str]:
        """Variables that the README of a role lists under **Role Variables**."""
        text = self.readme(role).partition("**Return Values**")[0]
        return set(_ROLEVAR.findall(text))

    def returned(self, role: str) -> set[str]:
        """Variables that it lists under **Return Values**."""
        return set(_ROLEVAR.findall(self.readme(role).partition("**Return Values**")[2]))


def role_problems(sources: Sources) -> list[str]:
    """README, defaults and argument specification of each role say the same."""
    lines = []
    for role in sources.roles:
        readme = sources.readme(role)
        if not readme:
            lines.append(f"roles/{role}: has no README.rst")
            continue
        first = readme.splitlines()
        if len(first) < 2 or not first[0] or first[1] or first[0].endswith("."):
            lines.append(f"roles/{role}/README.rst: must begin with one line that says what the role does, without a full stop")
        specified = sources.yaml_of(role, "meta/argument_specs.yaml").get("argument_specs")
        if not isinstance(specified, dict):
            lines.append(f"roles/{role}: has no meta/argument_specs.yaml")
            continue
        options = {name for entry in specified.values() for name in entry.get("options", {})}
        documented, defaults = sources.inputs(role), set(sources.yaml_of(role, "defaults/main.yaml"))
        required = {name for entry in specified.values() for name, of in entry.get("options", {}).items() if of.get("required")}
        lines += [f"roles/{role}: {name} is not in README.rst" for name in sorted((options | defaults) - documented)]
        lines += [f"roles/{role}: README.rst names {name}, argument_specs.yaml does not" for name in sorted(documented - options)]
        lines += [f"roles/{role}: {name} has neither a default nor is it required" for name in sorted(options - defaults - required - SHARED)]
        prefix = PREFIXES.get(role, role.replace("-", "_"))
        lines += [f"roles/{role}: {name} does not begin with {prefix}_" for name in sorted(options - SHARED) if not name.startswith(f"{prefix}_")]
        lines += _facts(sources, role, prefix)
    return lines


def _facts(sources: Sources, role: str, prefix: str) -> list[str]:
    """Facts that outlive the role (cacheable) are return values, and are documented."""
    known = sources.returned(role) | sources.inputs(role)
    lines = []
    for path in sorted((sources.root / "roles" / role / "tasks").glob("*.yaml")):
        for task in _load(path) or []:
            facts = dict(task.get("ansible.builtin.set_fact", {}))
            if facts.pop("cacheable", False):
                lines += [f"roles/{role}: returns the fact {name}, README.rst does not say so" for name in facts if name not in known]
            lines += [
                f"roles/{role}: fact {name} does not begin with {prefix}_"
                for name in facts
                if not name.startswith(f"{prefix}_") and name not in SHARED
            ]
    return lines


def job_problems(sources: Sources) -> list[str]:
    """Each job and template says what it is, is listed, and sets only variables that some role documents."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((sources.root / "doc" / "source" / "zuul").glob("*.rst")))
    variables = {name for role in sources.roles for name in sources.inputs(role)}
    lines = []
    for name, job in sources.jobs.items():
        text = str(job.get("description", "")).strip()
        if not text.partition("\n")[0].endswith("."):
            lines.append(f"job {name}: its description must begin with a sentence")
        if f".. zuul:autojob:: {name}\n" not in pages + "\n":
            lines.append(f"job {name}: is not in doc/source/zuul")
        for variable in [*job.get("vars", {}), *_NESTED.findall(str(job.get("description", "")))]:
            if variable not in variables | SHARED:
                lines.append(f"job {name}: no role documents {variable}")
    for name, template in sources.templates.items():
        if not template.get("description"):
            lines.append(f"project-template {name}: has no description")
        if f".. zuul:autoproject_template:: {name}\n" not in pages + "\n":
            lines.append(f"project-template {name}: is not in doc/source/zuul")
    for role in sources.roles:
        if f".. zuul:autorole:: {role}\n" not in pages + "\n":
            lines.append(f"role {role}: is not in doc/source/zuul")
    for kind, name in re.findall(r"^\.\. zuul:auto(job|role|project_template):: (\S+)$", pages, re.MULTILINE):
        known = {"job": sources.jobs, "role": sources.roles, "project_template": sources.templates}[kind]
        if name not in known:
            lines.append(f"doc/source/zuul: {kind} {name} does not exist")
    return lines


def reference_problems(sources: Sources) -> list[str]:
    """References in descriptions, READMEs and pages lead somewhere."""
    texts = {f"job {name}": str(job.get("description", "")) for name, job in sources.jobs.items()}
    texts |= {f"roles/{role}/README.rst": sources.readme(role) for role in sources.roles}
    texts |= {
        str(path.relative_to(sources.root)): path.read_text(encoding="utf-8") for path in sorted((sources.root / "doc" / "source").rglob("*.rst"))
    }
    rolevars = {f"{role}.{name}" for role in sources.roles for name in sources.inputs(role) | sources.returned(role)}
    targets = {"job": set(sources.jobs), "role": set(sources.roles), "rolevar": rolevars}
    return [
        f"{where}: :zuul:{kind}:`{target}` leads nowhere"
        for where, text in texts.items()
        for kind, target in _REFERENCE.findall(text)
        if target not in targets[kind]
    ]


def default_problems(sources: Sources) -> list[str]:
    """zuul-sphinx prints a default as it is written, so marks of reStructuredText would be seen."""
    texts = {f"job {name}": str(job.get("description", "")) for name, job in sources.jobs.items()}
    texts |= {f"roles/{role}/README.rst": sources.readme(role) for role in sources.roles}
    return [f"{where}: write the default {found} without marks" for where, text in texts.items() for found in re.findall(r":default: (.*`.*)", text)]


def problems(root: Path = ROOT) -> list[str]:
    """Every complaint, one line each; empty when all is documented."""
    sources = Sources(root)
    return [*role_problems(sources), *job_problems(sources), *reference_problems(sources), *default_problems(sources)]


def main() -> int:
    """Print the complaints; exit code 1 when there are any."""
    found = problems()
    for line in found:
        sys.stdout.write(line + "\n")
    if not found:
        sources = Sources(ROOT)
        sys.stdout.write(f"documented: {len(sources.jobs)} jobs, {len(sources.templates)} templates, {len(sources.roles)} roles\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
