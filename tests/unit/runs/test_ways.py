"""Which way an update is made, and what is said of it."""

import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import BuiltImage
from topcoat.model import PlannedImage, Reason, RunOptions
from topcoat.registry import Image
from topcoat.runs.host_maker import HostMaker
from topcoat.synthesis import Refusal

DONE = BuiltImage(Image({}, ()), (), None, method="transaction")
PLANNED = PlannedImage("nova", Reason.RPM_UPGRADE, "", None, "")


class Ways(unittest.TestCase):
    def update(self, way: str, outcome: object, user: int = 0) -> BuiltImage:
        """An update whose composing ends so."""
        decision = SimpleNamespace(references={"nova": SimpleNamespace(base_inventory=None)}, solver=mock.Mock())
        options = RunOptions("t", Path("r"), Path("l"), update_way=way)
        composer = mock.Mock()
        composer.update.side_effect = outcome if isinstance(outcome, Exception) else None
        composer.update.return_value = outcome
        with mock.patch.object(HostMaker, "_synthesiser", composer), mock.patch.object(HostMaker, "_transact", return_value=DONE):
            maker = HostMaker(decision, options, registries=mock.Mock(), known=mock.Mock(), processes=mock.Mock())  # type: ignore[arg-type]
            with mock.patch("os.geteuid", return_value=user):
                return maker.update(PLANNED, mock.Mock(), Path("log"))

    def test_what_is_refused_or_cannot_be_read_is_made_by_a_transaction_and_says_why(self) -> None:
        for error in (Refusal("it has a scriptlet"), ContentError("it has a scriptlet", next_step="x")):
            self.assertEqual(self.update("auto", error).fallback, "it has a scriptlet")
            with self.assertRaisesRegex(ContentError, "nova: its update cannot be composed: it has a scriptlet"):
                self.update("composed", error)
            with self.assertRaisesRegex(ContentError, "cannot be composed: it has a scriptlet") as caught:
                self.update("auto", error, user=1000)
            self.assertIn("as root", caught.exception.next_step or "")

    def test_a_machine_that_fails_is_no_reason_for_another_way(self) -> None:
        with self.assertRaises(InfrastructureError):
            self.update("auto", InfrastructureError("the registry is away"))

    def test_composed_is_tried_unless_a_transaction_was_asked_for(self) -> None:
        self.assertEqual(RunOptions("t", Path("r"), Path("l")).update_way, "auto")
        composed = BuiltImage(Image({}, ()), (), None, method="composed")
        self.assertEqual(self.update("auto", composed).method, "composed")
        self.assertEqual(self.update("transaction", composed), DONE)


if __name__ == "__main__":
    unittest.main()
