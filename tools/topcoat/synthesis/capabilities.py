"""File capabilities as a package names them, in the form that the kernel keeps.

This module must never guess: a text of several clauses is left to rpm.
"""

from __future__ import annotations

import struct

from topcoat.synthesis.package import PackageFile
from topcoat.synthesis.refusal import Refusal

# linux/capability.h, in the order of their numbers.
_CAPABILITY_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast "
    "net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice "
    "sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm "
    "block_suspend audit_read perfmon bpf checkpoint_restore"
)
_CAPABILITIES = {f"cap_{name}": number for number, name in enumerate(_CAPABILITY_NAMES.split())}


def attribute(file: PackageFile) -> bytes:
    """cap_from_text(3), of one clause, as the kernel stores it (linux/capability.h, VFS_CAP_REVISION_2)."""
    names, equals, flags = file.capabilities.strip().partition("=")
    known = _CAPABILITIES
    wanted = names.split(",")
    if not equals or " " in file.capabilities.strip() or not set(flags) <= set("epi") or not all(name in known for name in wanted):
        raise Refusal(f"/{file.path} has capabilities of a kind that is left to rpm ({file.capabilities})")
    if "e" in flags and "p" not in flags and "i" not in flags:
        raise Refusal(f"/{file.path} has capabilities of a kind that is left to rpm ({file.capabilities})")
    bits = sum(1 << known[name] for name in wanted)
    permitted, inheritable = (bits if flag in flags else 0 for flag in "pi")
    magic = 0x02000000 | ("e" in flags)
    words = (magic, permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF, permitted >> 32, inheritable >> 32)
    return struct.pack("<5I", *words)
