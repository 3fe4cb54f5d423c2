"""Every benchmark, one after the other: ``tox -e bench``; ``tox -e bench -- plan`` runs one.

This program must never decide whether a figure is good: it measures and writes down, also what is slower than a peer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES: dict[str, list[str]] = {
    "plan": ["plan.py", "--json", "{out}/plan.json"],
    "render": ["render.py", "--json", "{out}/render.json"],
    "changes": ["changes.py", "--json", "{out}/changes.json"],
    "sizes": ["sizes.py", "--json", "{out}/sizes.json"],
    "update": ["update.py"],
    "registry": ["registry.py", "--json", "{out}/registry.json"],
}


def main(words: list[str]) -> int:
    """Run the benchmarks named (all when none is) and keep what each printed in ``work/bench``.

    :returns: 0 when all ran, 1 when one broke, 2 for an unknown name.
    """
    unknown = [word for word in words if word not in BENCHES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; known: {', '.join(BENCHES)}")
        return 2
    out = HERE.parents[1] / "work" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    broken = []
    for name in words or BENCHES:
        script, *arguments = BENCHES[name]
        print(f"== {name}", flush=True)
        started = time.monotonic()
        command = [sys.executable, str(HERE / script), *(argument.format(out=out) for argument in arguments)]
        with (out / f"{name}.log").open("w", encoding="utf-8") as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HERE)
            for line in child.stdout or ():
                print(line, end="", flush=True)
                log.write(line)
        if child.wait():
            broken.append(name)
        print(f"== {name}: {time.monotonic() - started:.0f} s\n", flush=True)
    print(f"figures and logs: {out}")
    if broken:
        print(f"broken: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
