"""How long it takes to render all Containerfiles: our own tree, and a tcib tree of as many definitions; the whole process each time.

This program must never measure a part as the whole: each figure is a fresh ``topcoat`` process from start to end, the best of some runs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench_figures import tell

HOME = Path(__file__).parents[2]
RUNS = 5


def measure(arguments: Sequence[str], runs: int) -> dict[str, float]:
    """Wall-clock and CPU seconds of one process, the best of ``runs`` each."""
    wall, processor = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "topcoat", *arguments], check=True, capture_output=True, cwd=HOME)
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"seconds": round(min(wall), 3), "cpu_seconds": round(min(processor), 3)}


def run(tree: Path | None = None, runs: int = RUNS) -> dict[str, object]:
    """Measure; with ``tree`` that tcib tree instead of a made one."""
    results = []
    with tempfile.TemporaryDirectory(prefix="topcoat-bench-") as folder:
        out = str(Path(folder) / "out")
        if tree is None:
            sys.path.insert(0, str(HOME))
            from tests.unit.recipes.tcibtrees import write_tree

            tree = Path(folder) / "made"
            write_tree(tree / "tcib")
        cases = (("native tree", HOME / "container-images", []), ("tcib tree", tree.absolute(), ["--format", "tcib"]))
        for title, path, options in cases:
            common = ["--recipes", str(path), *options]
            names = subprocess.run([sys.executable, "-m", "topcoat", *common, "list"], check=True, capture_output=True, text=True, cwd=HOME).stdout
            figures = measure([*common, "render", "-o", out], runs)
            results.append({"what": title, "images": len(names.splitlines()), **figures})
    return {"benchmark": "render", "runs": runs, "python": sys.version.split()[0], "results": results}


def markdown(document: dict) -> str:
    """The figures as a table."""
    lines = ["| what | images | whole process | of it CPU |", "|---|---|---|---|"]
    lines += [f"| {row['what']} | {row['images']} | {row['seconds']} s | {row['cpu_seconds']} s |" for row in document["results"]]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, help="a tcib tree to use instead of a made one")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    document = run(options.tree, options.runs)
    tell(document, options.json)
    print()
    print(markdown(document))


if __name__ == "__main__":
    main()
