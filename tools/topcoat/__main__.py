"""``python -m topcoat``: the same command as ``topcoat``."""

from topcoat.cli import main

main()
