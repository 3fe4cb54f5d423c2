"""A history of which entries are damaged, or of a later version: the others are told."""

from __future__ import annotations

from types import SimpleNamespace

from tests.functional.promotion.base import SetCase
from topcoat.model import labels
from topcoat.promotion import Control, Entry, History
from topcoat.promotion.history import ENTRY_TYPE, JobNote, new_id
from topcoat.sets import streams


class Damaged(SetCase):
    def test_one_entry_hides_no_other(self) -> None:
        control = Control(self.client(), "damaged-history")
        history = History(control)
        job = JobNote("deploy", "blocking", "failed")
        good = Entry(new_id("one", 1.0), "floating", "promotion", "rejected", source="one", time=1.0, last=1.0, by="x", jobs=(job,))
        history.write(good)
        text = good.to_json()
        broken = (
            text.replace('"schema":1', '"schema":2'),
            text.replace('"state":"failed"', '"state":"melted"'),
            text.replace('"kind":"blocking"', '"kind":"both"'),
            text.replace('"state":"rejected"', '"state":"on"'),
            text.replace('"time":1.0', '"time":1' + "0" * 400),
            text[:-9],
        )
        for number, one in enumerate(broken, 2):
            control.documents.write(f"floating.history-{new_id('one', float(number))}", ENTRY_TYPE, {labels.HISTORY: one})
        said: list[str] = []
        profile = SimpleNamespace(registry=self.server.host, namespace="damaged-history")
        [stream] = streams.read(self.registries(), profile, newest=100, say=said.append)
        self.assertEqual([good.id], [entry.id for entry in stream.entries])
        self.assertEqual(["rejected"], [one.phase for one in stream.sets])
        self.assertEqual(len(broken), len(said))
        self.assertTrue(all("cannot be read" in line for line in said), said)
