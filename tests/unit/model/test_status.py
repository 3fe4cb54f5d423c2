"""The words of a status: what has ended, what may be used, which is the worst, and that a receipt takes no other."""

import unittest

from topcoat.model import ImageResult, Receipt, Status
from topcoat.model.status import OF_RUNS, OF_TASKS
from topcoat.report import document


class Words(unittest.TestCase):
    def test_what_each_means(self) -> None:
        table = {status.word: (status.ended, status.usable) for status in Status}
        self.assertEqual(
            {
                "done": (True, True),
                "partial": (True, True),
                "waiting": (False, False),
                "running": (False, False),
                "skipped": (True, False),
                "cancelled": (True, False),
                "failed": (True, False),
            },
            table,
        )
        self.assertTrue(all(status.ended for status in OF_TASKS))

    def test_each_word_belongs_to_images_or_runs_or_is_on_the_way(self) -> None:
        self.assertEqual(set(Status), {*OF_TASKS, *OF_RUNS, Status.WAITING})

    def test_the_worst_speaks_for_all(self) -> None:
        cases = (
            (("done", "done"), "done"),
            (("partial", "done"), "partial"),
            (("done", "running", "partial"), "running"),
            (("cancelled", "running"), "cancelled"),
            (("cancelled", "failed", "done"), "failed"),
        )
        for words, expected in cases:
            with self.subTest(words):
                self.assertIs(Status(expected), Status.worst(map(Status, words)))

    def test_receipts_take_the_plain_word_and_no_other(self) -> None:
        self.assertIs(Status.DONE, Receipt("p", "t", "done", 0.0, 0.0, ()).status)
        self.assertIs(Status.SKIPPED, ImageResult("a", "skipped", "build", "new-image", "").status)
        for make in (lambda: Receipt("p", "t", "finished", 0.0, 0.0, ()), lambda: ImageResult("a", "ok", "build", "new-image", "")):
            self.assertRaises(ValueError, make)

    def test_the_schema_of_receipts_has_the_same_words(self) -> None:
        schema = document.schema()
        self.assertEqual(["done", "failed", "skipped", "cancelled"], schema["$defs"]["image"]["properties"]["status"]["enum"])
        self.assertEqual(["running", "done", "failed", "partial", "cancelled"], schema["properties"]["status"]["enum"])
