"""A few at a time: order, the first error in order, nothing left running, nothing begun after an error."""

import threading
import unittest

from topcoat.process.each import each


class Each(unittest.TestCase):
    def test_results_come_in_the_order_of_the_items(self) -> None:
        later = threading.Event()

        def work(item: int) -> int:
            if item == 1:
                later.wait(10)
            else:
                later.set()
            return item * 10

        self.assertEqual([10, 20], each([1, 2], work, workers=2))
        self.assertEqual([], each([], work, workers=0))
        self.assertEqual([20], each([2], work, workers=0))

    def test_the_first_error_comes_when_all_that_began_have_ended(self) -> None:
        ended, began, both = [], [], threading.Barrier(2)

        def work(item: int) -> None:
            began.append(item)
            if item < 2:
                both.wait(10)
            if item == 0:
                raise ValueError(item)
            ended.append(item)

        with self.assertRaisesRegex(ValueError, "0"):
            each(range(50), work, workers=2)
        self.assertIn(1, ended)
        self.assertEqual(len(began), len(ended) + 1)

    def test_no_more_than_the_workers_at_a_time(self) -> None:
        lock, now, most = threading.Lock(), 0, 0

        def work(_: int) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            with lock:
                now -= 1

        each(range(200), work, workers=3)
        self.assertLessEqual(most, 3)
