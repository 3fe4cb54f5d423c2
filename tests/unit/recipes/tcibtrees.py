"""Writes tcib trees for tests: the shapes that public trees have, made from our own image names.

This module must never copy a public definition.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from topcoat.model import ancestry
from topcoat.recipes import load_tree
from topcoat.report.graph import ImageGraph

OWN = Path(__file__).parents[3] / "container-images"
INSTALL = "dnf -y install {{ tcib_packages['common'] | join(' ') }} && dnf clean all && rm -rf /var/cache/dnf"


def write_tree(target: Path) -> int:
    """A tcib tree of all our images below ``target``, as directories in directories; the number of images."""
    recipes = load_tree(OWN)
    for name in ImageGraph(recipes).order:
        recipe = recipes[name]
        lineage = ["os" if one == "openstack-base" else one for one in ancestry.chain(name, recipes)[::-1]]
        folder = target.joinpath(*lineage)
        folder.mkdir(parents=True)
        packages: dict[str, list[str]] = {
            "common": [package.name for package in recipe.packages if not package.when.arch and not package.when.release]
        }
        actions: list[dict[str, object]] = []
        if recipe.users:
            actions.append({"run": f"bash /usr/local/bin/make_users {'{{ tcib_user }}' if recipe.user else recipe.users[-1].name}"})
        for arch in ("x86_64",):
            found = [package.name for package in recipe.packages if package.when.arch == (arch,)]
            if found:
                packages[arch] = found
                actions.append(
                    {"run": f'if [ "$(uname -m)" == "{arch}" ]; then dnf -y install ' + "{{ tcib_packages['" + arch + "'] | join(' ') }}; fi"}
                )
        if packages["common"]:
            actions.append({"run": INSTALL})
        actions.append({"run": f"ln -s /usr/share/checks/{name} /openstack/check && chmod a+rx /openstack/check"})
        variables: dict[str, object] = {"tcib_actions": actions, "tcib_packages": packages}
        if name == "base":
            modules = {
                "el8": [{"disable": "virt:rhel"}, {"enable": "redis:{{ tcib_rhel_modules['redis'] | default('5') }}"}],
                "el9": [{"enable": "virt:{{ tcib_rhel_modules['virt'] | default('av') }}"}],
            }
            packages["modules"] = modules  # type: ignore[assignment]
            variables |= {
                "tcib_entrypoint": "dumb-init --single-child --",
                "tcib_cmd": "service_start",
                "tcib_stopsignal": "SIGTERM",
                "tcib_labels": {"maintainer": "Some team", "tcib_managed": True},
                "tcib_envs": {"LANG": "en_US.UTF-8", "container": "oci"},
            }
        if recipe.user:
            variables["tcib_user"] = recipe.user
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(variables, width=4096), encoding="utf-8")
    return len(recipes)
