"""Which lines of scriptlets are known to do nothing, by the tree they would run in."""

import unittest

from tests.unit.synthesis.test_rules import package
from topcoat.synthesis import Node, Refusal, Tree, check_scripts

PROGRAM = Node("f", 0o755, 0, 0, 0)
ACCOUNT = "getent group nova >/dev/null || groupadd -r nova --gid 162"


def tree(*more: str, nsswitch: str = "group: sss files systemd\n") -> Tree:
    nodes = dict.fromkeys(("bin/sh", "usr/bin/getent", *more), PROGRAM)
    return Tree(nodes, {"etc/group": b"root:x:0:\nnova:x:162:\n", "etc/nsswitch.conf": nsswitch.encode()})


def runs(body: str, found: Tree) -> bool:
    try:
        check_scripts([package("a", pre=body)], [], [], found)
    except Refusal:
        return True
    return False


class Lines(unittest.TestCase):
    def test_an_account_that_is_there_is_not_made(self) -> None:
        for body in (ACCOUNT, f"{ACCOUNT} || :", f"{ACCOUNT} >/dev/null 2>&1\nexit 0", ACCOUNT.replace("|| ", "|| \\\n   ")):
            self.assertFalse(runs(body, tree()), body)

    def test_what_follows_must_be_words_alone(self) -> None:
        for more in ("; rm -rf /opt", " && touch /x", " & touch /x", " | tee /x", " $(touch /x)", " `touch /x`", " > /x", ' "a', "|| touch /x"):
            self.assertTrue(runs(ACCOUNT + more, tree()), more)

    def test_an_account_or_program_that_is_not_there_is(self) -> None:
        self.assertTrue(runs(ACCOUNT.replace("nova", "cinder"), tree()))
        self.assertTrue(runs(ACCOUNT.replace("group ", "passwd "), tree()))
        self.assertTrue(runs(ACCOUNT, tree(nsswitch="group: sss [NOTFOUND=return] files")))
        self.assertTrue(runs(ACCOUNT, tree(nsswitch="group: sss")))
        without = tree()
        without.remove("usr/bin/getent")
        self.assertTrue(runs(ACCOUNT, without))
        self.assertTrue(runs(ACCOUNT, Tree({**tree().nodes, "usr/local/bin/getent": Node("l", 0o777, 0, 0, 0, "/bin/sh")}, tree().contents)))

    def test_lines_are_joined_as_the_shell_joins_them(self) -> None:
        self.assertTrue(runs("# a comment \\\ntouch /x", tree()))
        self.assertTrue(runs(": \\\ntouch /x", tree()))

    def test_what_needs_a_program_that_is_absent_is_not_done(self) -> None:
        lines = ("[ ! -x /usr/bin/systemctl ] || systemctl preset a.service || :", "[ -x /usr/bin/systemctl ] && systemctl preset a.service || :")
        for line in lines:
            self.assertFalse(runs(line, tree()), line)
            self.assertTrue(runs(line, tree("usr/bin/systemctl")), line)
        self.assertTrue(runs("[ -x /usr/bin/systemctl ] && systemctl preset a.service", tree()), "it fails")
