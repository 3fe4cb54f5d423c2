"""Who sends a blob."""

from __future__ import annotations

import threading
import unittest

from topcoat.publisher import BlobLedger


class Ledger(unittest.TestCase):
    def test_holders_come_in_the_order_they_were_learned_and_can_be_forgotten(self) -> None:
        ledger = BlobLedger()
        for repository in ("b", "a", "b"):
            ledger.add("h", "sha256:1", repository)
        self.assertEqual(("b", "a"), ledger.holders("h", "sha256:1"))
        self.assertEqual((), ledger.holders("other", "sha256:1"))
        ledger.forget("h", "sha256:1", "b")
        ledger.forget("h", "sha256:1", "never")
        self.assertEqual(("a",), ledger.holders("h", "sha256:1"))

    def test_one_at_a_time_for_a_blob_and_side_by_side_for_others(self) -> None:
        ledger = BlobLedger()
        inside: list[str] = []
        entered = threading.Event()

        def second() -> None:
            with ledger.sending("h", "sha256:1"):
                inside.append("second")

        with ledger.sending("h", "sha256:1"):
            thread = threading.Thread(target=second)
            thread.start()
            with ledger.sending("h", "sha256:2"):
                inside.append("other blob")
            with ledger.sending("h2", "sha256:1"):
                inside.append("other registry")
            entered.set()
            inside.append("first")
        thread.join()
        self.assertEqual(["other blob", "other registry", "first", "second"], inside)
