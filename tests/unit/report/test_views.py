"""What a reader sees: first lines of a red run, the calm screen of a green one, JUnit, review comments; and nothing hostile gets through."""

from __future__ import annotations

import io
import unittest
from dataclasses import replace
from xml.etree import ElementTree

from rich.console import Console

from tests.unit.report import fixtures
from topcoat.report import console, figures, junit


def screen(receipt, width=100):
    terminal = Console(width=width, highlight=False, record=True, file=io.StringIO())
    console.show(receipt, terminal)
    return terminal.export_text()


class Facts(unittest.TestCase):
    def test_headline_says_the_numbers(self):
        self.assertRegex(figures.headline(fixtures.green()), r"^104 images in .*: 5 built, 60 updated, 39 reused\.$")
        self.assertRegex(figures.headline(fixtures.red()), r"^2 of 104 images failed in .*; 4 skipped, ")
        self.assertEqual("All 104 images were up to date and reused in 1.4 s.", figures.headline(fixtures.idle()))
        empty = replace(fixtures.green(), images=(), status="failed", error={"class": "usage", "what": "no"})
        self.assertEqual("The run failed before any image was touched.", figures.headline(empty))
        self.assertIn("the run failed all the same", figures.headline(replace(fixtures.green(), status="failed")))
        holes = replace(fixtures.green(), status="failed", coverage=fixtures.red().coverage)
        self.assertIn("; but 1 gated package is not inside.", figures.headline(holes))
        self.assertIn("cancelled after", figures.headline(replace(fixtures.green(), status="cancelled")))

    def test_places_are_those_of_the_repository(self):
        self.assertEqual("container-images/a.yaml:3", figures.place("/home/zuul/topcoat/source/container-images/a.yaml:3"))
        for text in ("container-images/a.yaml:3", "profile.yaml:1", ""):
            self.assertEqual(text, figures.place(text))

    def test_storage_counts_a_shared_layer_once(self):
        shared, own = fixtures.layer("a", 100), fixtures.layer("b", 10, True)
        images = tuple(replace(image, layers=(shared, own) if index else (shared,)) for index, image in enumerate(fixtures.green().images[:2]))
        held = figures.storage(replace(fixtures.green(), images=images))
        self.assertEqual((210, 110, 10), (held.total, held.unique, held.new))

    def test_critical_path_is_the_heaviest_chain(self):
        path = figures.critical_path(fixtures.green())
        self.assertEqual(["base", "os", "heat-base"], path[:3])
        self.assertEqual([], figures.critical_path(fixtures.idle()))

    def test_a_circle_of_parents_ends(self):
        first, second = fixtures.green().images[:2]
        images = (replace(first, parent=second.name), replace(second, parent=first.name))
        receipt = replace(fixtures.green(), images=images)
        self.assertEqual(2, len(figures.critical_path(receipt)))
        self.assertIn(second.name, figures.stands_on(receipt, first.name))

    def test_recheck_only_when_all_that_failed_was_infrastructure(self):
        receipt = fixtures.red()
        self.assertFalse(figures.recheck_helps(receipt))
        only = tuple(image for image in receipt.images if image.name != "heat-base")
        self.assertTrue(figures.recheck_helps(replace(receipt, images=only)))
        self.assertFalse(figures.recheck_helps(fixtures.green()))

    def test_numbers_for_people(self):
        self.assertEqual(["0 B", "999 B", "1.0 kB", "12.3 kB", "100 kB", "1.4 GB", "-2.5 MB"],
                         [figures.bytes_text(value) for value in (0, 999, 1000, 12_345, 99_960, 1_400_000_000, -2_500_000)])  # fmt: skip
        self.assertEqual(["0.4 s", "59.9 s", "1 min 00 s", "2 min 05 s", "1 h 02 min"],
                         [figures.time_text(value) for value in (0.4, 59.9, 59.96, 125.2, 3720)])  # fmt: skip


class Screen(unittest.TestCase):
    def test_first_ten_lines_of_a_red_run_say_which_image_what_to_do_and_whether_a_recheck_helps(self):
        head = "\n".join(screen(fixtures.red()).splitlines()[:10])
        for word in (
            "heat-base",
            "No match for argument: python3-heat-agnet",
            "look for a typing error",
            "will not help",
            "heat.yaml:14",
            "000_FAILED_heat-base.log",
        ):
            self.assertIn(word, head)
        self.assertIn("4 images that stand on it: heat-all, heat-api", head)

    def test_forty_lines_of_output_do_not_hide_what_to_do(self):
        long = (
            "dnf ended with code 1; its last lines: "
            + "\n".join(f"Downloading package number {number}" for number in range(200))
            + "\nError: no such package"
        )
        receipt = fixtures.red()
        images = tuple(replace(image, error={**image.error, "what": long}) if image.name == "heat-base" else image for image in receipt.images)
        head = "\n".join(screen(replace(receipt, images=images)).splitlines()[:10])
        for word in ("dnf ended with code 1", "Error: no such package", "look for a typing error", "will not help", "heat.yaml:14"):
            self.assertIn(word, head)

    def test_every_failure_says_what_to_do(self):
        for error in ({"what": "x", "log": "l"}, {"what": "x", "recheck_helps": True}, {"what": "x", "next_step": "y"}):
            self.assertTrue(figures.next_step(error))

    def test_green_screen(self):
        text = screen(fixtures.green())
        for word in (
            "5 built",
            "openstack/nova 905678,1 <- openstack/oslo.config 901234,3",
            "2:9.8.0-0.20261121.a1b2c3d.el9",
            "openstack/oslo.config",
            "proven",
            "274 MB pushed",
            "recipe-changed: heat-base",
        ):
            self.assertIn(word, " ".join(text.split()) if " " in word else text)
        self.assertNotIn("failed", text)

    def test_it_fits_its_width(self):
        for width in (60, 80, 100):
            self.assertLessEqual(max(len(line) for line in screen(fixtures.green(), width).splitlines()), width)

    def test_uncovered_package_is_shown(self):
        self.assertIn("python3-nova-novnc-1:31.1.0", screen(fixtures.red()))
        self.assertIn("no image has it", screen(fixtures.red()))

    def test_hostile_text_is_shown_not_obeyed(self):
        stream = io.StringIO()
        console.show(fixtures.hostile(), Console(file=stream, width=200, highlight=False, force_terminal=False))
        self.assertNotIn("\x1b", stream.getvalue())
        self.assertNotIn("\x00", stream.getvalue())
        self.assertNotIn("\u202e", stream.getvalue())
        self.assertIn("[red]", stream.getvalue())
        self.assertIn("\\x1b[31m", stream.getvalue())


class JUnit(unittest.TestCase):
    def test_counts_and_kinds(self):
        root = ElementTree.fromstring(junit.to_xml(fixtures.red()))
        images, coverage = root.findall("testsuite")
        self.assertEqual(("104", "1", "1", "4"), tuple(images.get(name) for name in ("tests", "failures", "errors", "skipped")))
        self.assertEqual("1", coverage.get("failures"))
        heat = next(case for case in images if case.get("name") == "heat-base")
        self.assertIn("python3-heat-agnet", heat.find("failure").get("message"))
        self.assertIn("recheck: will not help", heat.find("failure").text)
        neutron = next(case for case in images if case.get("name") == "neutron-server")
        self.assertEqual("infrastructure", neutron.find("error").get("type"))

    def test_hostile_text_gives_readable_xml(self):
        root = ElementTree.fromstring(junit.to_xml(fixtures.hostile()))
        message = root.find(".//failure").get("message")
        self.assertIn("<script>", message)
        self.assertIn("\\x1b[31m\\x00", message)

    def test_an_error_of_the_run_is_a_case(self):
        receipt = replace(fixtures.green(), status="failed", error={"class": "infrastructure", "what": "no registry", "next_step": "start it"})
        self.assertIn("no registry", junit.to_xml(receipt))


class Comments(unittest.TestCase):
    def test_content_failures_are_comments_and_infrastructure_is_not(self):
        from topcoat.zuul import returned_findings

        broken = fixtures.red()
        images = tuple(replace(image, where="container-images/openstack/neutron.yaml:9") for image in broken.images if image.status == "failed")
        found = returned_findings(replace(broken, images=images), comments=True)["zuul"]["file_comments"]
        self.assertEqual(["container-images/openstack/heat.yaml"], list(found))
        self.assertIn("look for a typing error", found["container-images/openstack/heat.yaml"][0]["message"])
