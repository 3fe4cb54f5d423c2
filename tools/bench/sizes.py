"""How big the same software is by our recipes and by the classic recipe style, from the same repositories on the same base.

This program must never count what both styles share as a gain: sizes are compressed layers above the base image.

Three styles of each image and its parents, all built with plain buildah:

- ``classic``: install with the package manager's defaults (weak dependencies, documentation), clean in another RUN; a layer an instruction, as
  docker builds;
- ``classic, one RUN``: the same defaults, install and clean in one RUN;
- ``recipe``: our Containerfile as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench_figures import tell

from topcoat import containerfile
from topcoat.containerfile import accounts
from topcoat.model import Profile, Recipe, ancestry
from topcoat.process import run as execute
from topcoat.recipes import apply_profile, load_profile, load_tree
from topcoat.report.graph import ImageGraph
from topcoat_demo import distribution

TREE = Path(__file__).parents[2] / "container-images"
IMAGES = ("memcached", "keystone")
STYLES = ("classic", "classic, one RUN", "recipe")
TIMEOUT = 900.0


def classic(recipe: Recipe, parent: str, *, one_run: bool) -> str:
    """The recipe as an image of the older kind would be written."""
    lines = [f"FROM {parent}"]
    lines_of_accounts = accounts.shell_lines(recipe.users)
    if lines_of_accounts:
        lines.append("RUN set -e; \\\n    " + "; \\\n    ".join(lines_of_accounts))
    names = " ".join(sorted(package.name for package in recipe.packages))
    if names:
        install, clean = f"dnf -y --setopt=install_weak_deps=True --setopt=tsflags= install {names}", "dnf clean all && rm -rf /var/cache/dnf"
        lines += [f"RUN {install} && {clean}"] if one_run else [f"RUN {install}", f"RUN {clean}"]
    return "\n".join(lines) + "\n"


class Bench:
    """One storage, one base image, one set of repositories."""

    def __init__(self, work: Path) -> None:
        made = distribution.shared(say=lambda line: print(line, file=sys.stderr))
        if made.real is None:
            raise SystemExit("the benchmark needs the real base image: run 'python -m topcoat_demo make' without --quick-only")
        self.work = work
        self.repositories = made.repositories.resolve()
        self.command = ["buildah", "--root", str(work / "root"), "--runroot", str(work / "run"), "--storage-driver", "overlay"]
        self.profile: Profile = load_profile("demo", root=TREE, variables={"repositories": "file:///repositories"})
        self.recipes = apply_profile(load_tree(TREE), self.profile)
        target = f"containers-storage:[overlay@{work / 'root'}+{work / 'run'}]localhost/base-image:latest"
        execute(["skopeo", "copy", "-q", f"oci:{made.real.directory}", target], timeout=TIMEOUT)
        folder = work / "repos"
        folder.mkdir()
        sections = (f"[{one.id}]\nname={one.id}\nbaseurl={one.baseurl}\ngpgcheck=0\npriority={one.priority}\n" for one in self.profile.repositories)
        (folder / "all.repo").write_text("\n".join(sections))

    def build(self, name: str, style: str) -> None:
        """Build one image of a style on its parent of the same style."""
        recipe = self.recipes[name]
        tag = STYLES.index(style)
        parent = "localhost/base-image" if recipe.parent is None else f"localhost/{recipe.parent}:{tag}"
        context = self.work / f"{name}-{tag}"
        rendered = containerfile.render(recipe, parent_reference=parent, profile=self.profile, labels={})
        containerfile.write_context(rendered, context)
        if style != "recipe":
            (context / "Containerfile").write_text(classic(recipe, parent, one_run=style != STYLES[0]))
        mounts = ["-v", f"{self.work / 'repos'}:/etc/yum.repos.d:ro", "-v", f"{self.repositories}:/repositories:ro"]
        layers = ["--layers"] if style == STYLES[0] else []
        arguments = [
            "bud",
            "-q",
            "--isolation",
            "chroot",
            "--pull-never",
            "--format",
            "docker",
            *layers,
            *mounts,
            "-t",
            f"localhost/{name}:{tag}",
            str(context),
        ]
        execute([*self.command, *arguments], timeout=TIMEOUT)

    def size(self, name: str, style: str) -> int:
        """Compressed bytes of its layers above the base image."""
        base = {digest for digest, _ in self.layers("localhost/base-image")}
        return sum(size for digest, size in self.layers(f"localhost/{name}:{STYLES.index(style)}") if digest not in base)

    def layers(self, image: str) -> list[tuple[str, int]]:
        """(digest, compressed bytes) of an image, as a registry would get them."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            execute([*self.command, "push", "-q", image, f"dir:{folder}"], timeout=TIMEOUT)
            manifest = json.loads((Path(folder) / "manifest.json").read_text())
        return [(layer["digest"], layer["size"]) for layer in manifest["layers"]]


def run(images: tuple[str, ...] = IMAGES) -> dict[str, object]:
    """Build every style and measure it."""
    with tempfile.TemporaryDirectory(prefix="topcoat-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        order = ImageGraph(bench.recipes).order
        needed = [name for name in order if any(name == image or name in ancestry.above(image, bench.recipes) for image in images)]
        for style in STYLES:
            for name in needed:
                bench.build(name, style)
        results = [{"image": name, **{style: bench.size(name, style) for style in STYLES}} for name in images]
        execute([*bench.command, "rmi", "-a", "-f"], timeout=TIMEOUT, check=False)
        return {"benchmark": "sizes", "unit": "compressed bytes above the base image", "results": results}


def markdown(document: dict) -> str:
    """The figures as a table."""
    lines = ["| image | classic | classic, one RUN | recipe | recipe against classic |", "|---|---|---|---|---|"]
    for row in document["results"]:
        share = f"{100 * row['recipe'] / row['classic']:.0f} %"
        lines.append(f"| {row['image']} | " + " | ".join(f"{row[style] / 1e6:.1f} MB" for style in STYLES) + f" | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", default=list(IMAGES))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    document = run(tuple(options.images))
    tell(document, options.json)
    print()
    print(markdown(document))


if __name__ == "__main__":
    main()
