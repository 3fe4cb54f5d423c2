"""How much what nobody has reviewed may take: processes, memory, room on the disk, time; and which of these it ran into.

This module must never import anything but the standard library, and never end a process that it was not given.

Processes and memory are bounded by the kernel, in a control group (version 1 or 2) where one can be made. Room and time are looked
after from outside.
"""

# This program also has to run on the Python 3.9 of CentOS Stream 9.
# ruff: noqa: PTH103, PTH110, PTH112, PTH113, PTH118

from __future__ import annotations

import contextlib
import os
import resource
import time

_ROOT = "/sys/fs/cgroup"


def parents() -> tuple[str, ...]:
    """Where the controllers of processes and memory are: one place in version 2, one each in version 1."""
    return (_ROOT,) if os.path.isfile(f"{_ROOT}/cgroup.controllers") else (f"{_ROOT}/pids", f"{_ROOT}/memory")


class Group:
    """A control group by its name; one that cannot be made bounds nothing, and says that nothing was reached."""

    def __init__(self, name: str) -> None:
        self._folders = [os.path.join(parent, name) for parent in parents()] if name else []

    def enter(self, bounds: dict[str, float]) -> None:
        """Move this process, and with it all it starts, into the group.

        Once, and for all children: entering a group takes the kernel longer than everything else here.
        """
        # A bound that this machine's kernel has no controller for stays out; the others hold.
        memory = bounds["memory"]
        values = {
            "pids.max": bounds["processes"],
            "memory.max": memory,
            "memory.swap.max": 0,
            "memory.limit_in_bytes": memory,
            "memory.swappiness": 0,
        }
        for folder in self._folders:
            with contextlib.suppress(OSError):
                os.makedirs(folder, exist_ok=True)
                for name, value in values.items():
                    path = os.path.join(folder, name)
                    if os.path.exists(path):
                        with contextlib.suppress(OSError), open(path, "w") as sink:
                            sink.write(str(value))
                with open(os.path.join(folder, "cgroup.procs"), "w") as sink:
                    sink.write("0")

    def reached(self) -> dict[str, int]:
        """How often the kernel refused a process, and ended one for want of memory."""
        found = {"processes": 0, "memory": 0}
        places = (("pids.events", "max", "processes"), ("memory.events", "oom_kill", "memory"), ("memory.oom_control", "oom_kill", "memory"))
        for folder in self._folders:
            for name, word, what in places:
                with contextlib.suppress(OSError), open(os.path.join(folder, name)) as source:
                    for line in source:
                        key, _, value = line.partition(" ")
                        if key == word and value.strip().isdigit():
                            found[what] += int(value)
        return found


def bound_process(bounds: dict[str, float]) -> None:
    """What each single process may have, also where no group can be made: data in memory, and the length of a file."""
    for which, most in ((resource.RLIMIT_DATA, int(bounds["memory"])), (resource.RLIMIT_FSIZE, int(bounds["disk"]))):
        _, hard = resource.getrlimit(which)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (value, value))


LEFT_OUT = b"\n[the rest of the output is left out]\n"
"""What a log ends with that had no room for more."""


class Watch:
    """Looks after one piece of work, from outside: call ``look`` about once a second, and ``verdict`` when it failed."""

    def __init__(self, group: Group, folders: list[str], bounds: dict[str, float]) -> None:
        """:param folders: what it can write to."""
        self.doing = ""
        """What it said last that it does."""
        self.output = int(bounds["output"])
        """Bytes of what it prints that are kept."""
        self._group = group
        self._before = group.reached()
        self._folders = [(folder, _room(folder)) for folder in folders if os.path.isdir(folder)]
        self._start = time.monotonic()
        self._seconds, self._disk, self._files = bounds["seconds"], int(bounds["disk"]), int(bounds["files"])
        self._memory, self._processes = int(bounds["memory"]), int(bounds["processes"])

    def look(self) -> str:
        """Why it has to end now; empty while it may go on."""
        if time.monotonic() - self._start > self._seconds:
            return f"took longer than {self._seconds:.0f} s and was ended"
        for folder, (room, files) in self._folders:
            # Others write to the same disk: what it wrote is counted only when so much is gone.
            now, left = _room(folder)
            if room - now > self._disk or files - left > self._files:
                return self._written(self._disk)
        return ""

    def starved(self) -> str:
        """Whether something of it was ended for want of memory: then it is not whole, whatever it says itself."""
        if self._group.reached()["memory"] > self._before["memory"]:
            return f"needed more than the {_size(self._memory)} of memory that it may have"
        return ""

    def verdict(self) -> str:
        """The limit that a piece of work ran into which has failed by itself; empty: none."""
        starved = self.starved()
        if starved:
            return starved
        now = self._group.reached()
        if now["processes"] > self._before["processes"]:
            return f"needed more than the {self._processes} processes that it may have"
        return self._written(self._disk - (1 << 20))

    def _written(self, most: int) -> str:
        size = files = 0
        for folder, _ in self._folders:
            more = _used(folder)
            size, files = size + more[0], files + more[1]
        if size > most:
            return f"wrote more than the {_size(self._disk)} that it may"
        return f"made more than the {self._files} files that it may" if files > self._files else ""


def _room(folder: str) -> tuple[int, int]:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize, found.f_ffree


def _used(folder: str) -> tuple[int, int]:
    """Bytes on the disk and number of files below a folder, without what is mounted there."""
    size = files = 0
    with contextlib.suppress(OSError):
        device = os.lstat(folder).st_dev
        todo = [folder]
        while todo:
            with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        if found.st_dev == device:
                            size += found.st_blocks * 512
                            files += 1
                            if entry.is_dir(follow_symlinks=False):
                                todo.append(entry.path)
    return size, files


def _size(number: int) -> str:
    return f"{number / (1 << 30):g} GiB" if number >= 1 << 30 else f"{number / (1 << 20):g} MiB"
