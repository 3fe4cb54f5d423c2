"""First process of the lab's namespaces: brings loopback up, reaps orphans, and ends everything by ending.

This program must never start a service itself; when it dies, the kernel ends every process of the lab.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def main() -> int:
    """Wait for orphans for ever; TERM ends the lab."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
