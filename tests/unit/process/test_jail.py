"""The filter of system calls of steps: never more than the machine's own, and nothing of what a transaction's forbids."""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path
from unittest import mock

from topcoat import process

with mock.patch.object(sys, "path", [str(Path(process.__file__).with_name("jail")), *sys.path]):  # its modules find each other by bare name
    jail = importlib.import_module("jail")

DEFAULT = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "syscalls": [
        {"names": ["read", "unshare", "clone", "clone3", "mount"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["setns"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ],
}


class Narrowed(unittest.TestCase):
    def test_nothing_forbidden_is_allowed(self) -> None:
        found = jail.narrowed(DEFAULT)
        allowed = [(rule["names"], bool(rule.get("args"))) for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
        self.assertEqual([(["read"], False), (["clone"], True)], allowed)
        self.assertEqual("SCMP_ACT_ERRNO", found["defaultAction"])
        (arguments,) = [rule["args"] for rule in found["syscalls"] if rule["names"] == ["clone"]]
        self.assertEqual((0x7E020000, 0), (arguments[0]["value"], arguments[0]["valueTwo"]))

    def test_no_rule_says_what_is_done_anyway(self) -> None:
        for error in (1, 38):
            rules = jail.narrowed({**DEFAULT, "defaultErrnoRet": error})["syscalls"]
            self.assertNotIn(("SCMP_ACT_ERRNO", error), [(rule["action"], rule.get("errnoRet")) for rule in rules])

    def test_a_machine_without_a_profile(self) -> None:
        rules = jail.narrowed({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})["syscalls"]
        self.assertEqual({"SCMP_ACT_ERRNO"}, {rule["action"] for rule in rules})
        self.assertEqual(7, sum(rule["names"] == ["clone"] for rule in rules))
