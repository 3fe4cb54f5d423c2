"""The reviewer's page is one file that loads and runs nothing, whatever the names in it."""

from __future__ import annotations

import tempfile
import unittest
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from tests.unit.report import fixtures
from topcoat.report import drawing, page, pages

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """Collects elements and text, and checks that every element is closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.wrong, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.words.append(data)


class Page(unittest.TestCase):
    def test_every_receipt_gives_well_formed_html(self):
        for make in (fixtures.green, fixtures.red, fixtures.idle, fixtures.hostile):
            reader = Reader(page.render(make()))
            self.assertEqual(([], []), (reader.wrong, reader.open))

    def test_the_chart_of_sizes_has_a_bar_for_each_image_with_layers(self):
        receipt = fixtures.green()
        svg = str(drawing.sizes(receipt))
        for image in receipt.images:
            self.assertEqual(bool(image.layers), f"<title>{image.name}: " in svg, image.name)
        self.assertEqual(svg.count('class="reference"'), sum(bool(image.layers and image.reference_size) for image in receipt.images))
        self.assertEqual(str(drawing.sizes(replace(receipt, images=()))), "")

    def test_nothing_is_loaded_and_nothing_runs(self):
        for make in (fixtures.red, fixtures.hostile):
            for tag, attributes in Reader(page.render(make())).elements:
                self.assertNotIn(tag, ("script", "iframe", "object", "embed", "img", "base", "form"))
                for name, value in attributes.items():
                    self.assertFalse(name.startswith("on"), (tag, name))
                    if name in ("href", "src"):
                        self.assertTrue(value.startswith(("#", "https://review.example.org/", "data:,", "logs/", "receipt.json")), value)
                    self.assertNotEqual("style", name)

    def test_every_inner_link_has_its_target_and_ids_are_unique(self):
        for make in (fixtures.green, fixtures.red, fixtures.idle):
            elements = Reader(page.render(make())).elements
            ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
            self.assertEqual(len(ids), len(set(ids)))
            for tag, attributes in elements:
                if tag == "a" and attributes["href"].startswith("#"):
                    self.assertIn(attributes["href"][1:], ids)

    def test_gated_packages_link_to_their_change(self):
        links = [attributes["href"] for tag, attributes in Reader(page.render(fixtures.green())).elements if tag == "a"]
        self.assertIn("https://review.example.org/c/openstack/oslo.config/+/901234", links)

    def test_every_image_has_a_row_with_reason_and_result(self):
        reader = Reader(page.render(fixtures.red()))
        ids = {attributes.get("id") for _, attributes in reader.elements}
        for image in fixtures.red().images:
            self.assertIn(f"image-{image.name}", ids)
        text = " ".join(" ".join(reader.words).split())
        for word in (
            "2 of 104 images failed",
            "A recheck alone will not help",
            "look for a typing error",
            "in no image",
            "parent heat-base failed",
            "80 % shared",
        ):
            self.assertIn(word, text)

    def test_who_signed_is_told_for_each_image_and_for_what_changed(self):
        receipt = fixtures.green()
        change = next(image.changes[0] for image in receipt.images if image.changes)
        signers = {"05b555b38483c65d": 240, "<b>": 1, "": 2}
        images = tuple(replace(image, signers=signers, unsigned=(str(image.changes[0].new),) if image.changes else ()) for image in receipt.images)
        text = " ".join(" ".join(Reader(page.render(replace(receipt, images=images))).words).split())
        for words in ("signed by 2 keys, 2 unsigned", "05b555b38483c65d : 240 packages", "<b> : 1 package", f"{change.new} came without signature"):
            self.assertIn(words, text)
        self.assertIn("unsigned", text[text.index("Packages that changed") :])
        self.assertNotIn("signed by", " ".join(Reader(page.render(receipt)).words))

    def test_how_updates_were_made_is_told_for_all_and_for_each(self):
        receipt = fixtures.green()
        self.assertNotIn("composed", page.render(receipt))
        images = list(receipt.images)
        images[0] = replace(images[0], method="composed")
        images[1] = replace(images[1], method="transaction", fallback="<b> has a scriptlet (%post)")
        text = page.render(replace(receipt, images=tuple(images)))
        self.assertIn("1 update composed without the image, 1 by a transaction (1: &lt;b&gt; has a scriptlet (%post))", text)
        self.assertIn("<p>Composed without the image.</p>", text)
        self.assertIn("<p>By a transaction: &lt;b&gt; has a scriptlet (%post)</p>", text)

    def test_log_tails(self):
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "logs").mkdir()
            (top / "logs" / "000_FAILED_heat-base.log").write_bytes(
                b"".join(b"line %d\n" % number for number in range(100)) + b"bad \xff\x1b[2J & <b>\n"
            )
            tails = page.log_tails(fixtures.red(), top)
            self.assertEqual(["heat-base"], list(tails))
            self.assertEqual(40, len(tails["heat-base"].splitlines()))
            text = page.render(fixtures.red(), tails=tails)
            self.assertIn("\\x1b[2J &amp; &lt;b&gt;", text)

    def test_logs_outside_the_folder_of_the_receipt_are_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            secret = Path(folder) / "secret"
            secret.write_text("canary")
            inside = Path(folder) / "run"
            inside.mkdir()
            (inside / "link").symlink_to(secret)
            for log in ("../secret", str(secret), "link", "\x00", "."):
                images = tuple(replace(image, log=log) if image.status == "failed" else image for image in fixtures.red().images)
                self.assertEqual({}, page.log_tails(replace(fixtures.red(), images=images), inside))

    def test_a_page_in_another_folder_finds_receipt_and_logs(self):
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "logs").mkdir()
            (top / "logs" / "000_FAILED_heat-base.log").write_text("the cause\n")
            page.save(fixtures.red(), top / "logs" / "report.html", receipt_file=top / "receipt.json")
            text = (top / "logs" / "report.html").read_text()
            links = {attributes["href"] for tag, attributes in Reader(text).elements if tag == "a"}
            self.assertIn("the cause", text)
            self.assertLessEqual({"../receipt.json", "../logs/000_FAILED_heat-base.log"}, links)

    def test_links_of_other_kinds_are_text(self):
        for url in (
            "javascript:alert(1)",
            "JAVASCRIPT:alert(1)",
            "data:text/html,x",
            "https://a b",
            "http://x\n",
            "//evil",
            None,
            3,
            "file:///etc/passwd",
        ):
            self.assertEqual("", pages.safe_url(url))
        self.assertEqual("https://review.example.org/1", pages.safe_url("https://review.example.org/1"))

    def test_a_circle_of_parents_is_drawn_once(self):
        first, second = fixtures.green().images[:2]
        receipt = replace(fixtures.green(), images=(replace(first, parent=second.name), replace(second, parent=first.name)))
        self.assertIn(f'id="image-{first.name}"', page.render(receipt))

    def test_an_empty_run(self):
        receipt = replace(
            fixtures.green(),
            images=(),
            coverage=(),
            gated=(),
            repositories=(),
            zuul={},
            status="failed",
            error={"class": "usage", "what": "no such profile"},
        )
        self.assertIn("no such profile", page.render(receipt))


class Ticks(unittest.TestCase):
    def test_they_are_round_and_few(self):
        self.assertEqual([0, 5, 10, 15, 20, 25, 30, 35], drawing.ticks(36.8))
        for longest in (0.001, 0.7, 3, 59, 61, 1000, 86_400):
            self.assertLessEqual(len(drawing.ticks(longest)), 9)
            self.assertGreaterEqual(len(drawing.ticks(longest)), 4)
        self.assertEqual([0.0], drawing.ticks(0))
