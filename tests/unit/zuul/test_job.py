"""What a job sees: shapes, selection of projects, newest images."""

from __future__ import annotations

import json
import unittest

import yaml

from tests.functional.roles import inventories
from topcoat.errors import UsageError
from topcoat.zuul import load_variables, newest_images, parse_artifacts, parse_job, projects_under_test


def image(repository: str = "ns/nova-api", tag: str = "current", number: int = 1, **more: object) -> dict[str, object]:
    """One artifact as Zuul hands it on."""
    metadata = {"type": "container_image", "repository": repository, "tag": tag, "digest": "sha256:" + f"{number:064x}", **more}
    return {"name": f"{repository}:{tag}", "url": f"docker://r.example.org:5000/{repository}:{number}", "metadata": metadata, "change": str(number)}


class Variables(unittest.TestCase):
    def test_three_shapes_are_one(self) -> None:
        zuul = inventories.depends_on()
        shapes = [{"all": {"hosts": {}, "vars": {"zuul": zuul}}}, {"zuul": zuul}, zuul]
        self.assertEqual([parse_job(load_variables(yaml.safe_dump(shape, sort_keys=False))) for shape in shapes], [parse_job(zuul)] * 3)
        self.assertEqual(parse_job(load_variables(json.dumps(zuul))), parse_job(zuul))

    def test_unsafe_text_of_authors_is_text(self) -> None:
        loaded = load_variables("zuul:\n  buildset: b\n  items: []\n  change_message: !unsafe '{{ x }}'\n")
        self.assertEqual(loaded["change_message"], "{{ x }}")

    def test_no_other_tag_is_accepted(self) -> None:
        with self.assertRaises(UsageError):
            load_variables("zuul: !!python/object/apply:os.system ['true']")

    def test_mistakes_are_named(self) -> None:
        for text, expected in {
            "": "holds no variable",
            "[]": "holds no variable",
            "a: [": "f.yaml:1",
            "zuul: 3": "holds no variable",
        }.items():
            with self.subTest(text), self.assertRaisesRegex(UsageError, expected):
                load_variables(text, where="f.yaml")

    def test_the_method_instead_of_the_list(self) -> None:
        """{{ zuul.items }} in a playbook gives the text of a bound method."""
        with self.assertRaises(UsageError) as caught:
            parse_job({"items": "<built-in method items of dict object at 0x7f>"})
        self.assertIn("zuul['items']", caught.exception.next_step)


class Selection(unittest.TestCase):
    EXPECTED = {
        "depends_on": {"openstack/oslo.config": 1, "openstack/nova": 1},
        "gate": {"openstack/keystone": 1, "openstack/nova": 1},
        "periodic": {},
        "circular": {"openstack/nova": 1, "openstack/oslo.config": 1},
        "two_of_one_project": {"openstack/nova": 2},
        "own_repository_ahead": {"team/topcoat": 1, "openstack/nova": 1},
        "own_repository": {"team/topcoat": 1},
        "other_branch": {"openstack/nova": 1},
    }

    def test_every_situation(self) -> None:
        self.assertEqual(set(self.EXPECTED), set(inventories.ALL))
        for name, made in inventories.ALL.items():
            with self.subTest(name):
                found, _ = projects_under_test(parse_job(made()))
                self.assertEqual({entry.project.name: len(entry.changes) for entry in found}, self.EXPECTED[name])

    def test_oldest_first_and_newest_change_speaks(self) -> None:
        found, _ = projects_under_test(parse_job(inventories.depends_on()))
        self.assertEqual([entry.project.name for entry in found], ["openstack/oslo.config", "openstack/nova"])
        self.assertEqual([entry.own for entry in found], [False, True])
        (nova,), _ = projects_under_test(parse_job(inventories.two_of_one_project()))
        self.assertTrue((nova.change_url or "").endswith("/205"))

    def test_what_is_left_out_has_a_reason(self) -> None:
        job = inventories.depends_on()
        del job["projects"]["review.example.org/openstack/oslo.config"]  # type: ignore[attr-defined]
        found, skipped = projects_under_test(parse_job(job))
        self.assertEqual([entry.project.name for entry in found], ["openstack/nova"])
        self.assertEqual(
            [(entry.project, entry.reason) for entry in skipped], [("review.example.org/openstack/oslo.config", "not checked out by this job")]
        )
        _, skipped = projects_under_test(parse_job(inventories.other_branch()))
        self.assertEqual(skipped[0].reason, "change 101 is for branch stable/x, this job has checked out master")
        _, skipped = projects_under_test(parse_job(inventories.depends_on()), not_packaged=["openstack/oslo.*"])
        self.assertEqual(skipped[0].reason, "named as a project without a package")

    def test_nothing_under_test_is_an_error_and_no_empty_job(self) -> None:
        for what in ({"items": None}, {"items": []}, {"projects": {}}, {"projects": None}, {"project": None, "projects": {}}):
            with self.subTest(what), self.assertRaisesRegex(UsageError, "under test"):
                projects_under_test(parse_job({**inventories.depends_on(), **what}))
        job = inventories.depends_on()
        del job["projects"]["review.example.org/openstack/nova"]  # type: ignore[attr-defined]
        with self.assertRaisesRegex(UsageError, "change 205 of review.example.org/openstack/nova is under test and zuul.projects has no checkout"):
            projects_under_test(parse_job(job))

    def test_the_own_change_counts_on_an_overridden_branch(self) -> None:
        """A job with override-checkout tests the change where it was told to."""
        job = inventories.two_of_one_project()
        job["projects"]["review.example.org/openstack/nova"]["checkout"] = "other"  # type: ignore[index]
        found, skipped = projects_under_test(parse_job(job))
        self.assertEqual((len(found), skipped), (1, ()))


class Artifacts(unittest.TestCase):
    def test_only_images(self) -> None:
        other = [
            {"name": "docs", "url": "docs/"},
            {"name": "x", "url": "y", "metadata": {"type": "zuul_manifest"}},
            {"name": "z", "url": "u", "metadata": None},
        ]
        self.assertEqual([artifact.repository for artifact in parse_artifacts([*other, image()])], ["ns/nova-api"])

    def test_the_last_one_wins(self) -> None:
        found = newest_images(parse_artifacts([image(number=1), image("ns/x", number=5), image(number=2), image(tag="other", number=3)]))
        self.assertEqual(
            [(artifact.repository, artifact.tag, artifact.change) for artifact in found],
            [("ns/nova-api", "current", "2"), ("ns/x", "current", "5"), ("ns/nova-api", "other", "3")],
        )

    def test_half_an_image_is_refused(self) -> None:
        for key in ("repository", "tag"):
            broken = image()
            del broken["metadata"][key]  # type: ignore[attr-defined]
            with self.subTest(key), self.assertRaisesRegex(UsageError, "no url, repository or tag"):
                parse_artifacts([broken])

    def test_of_zuul_jobs_without_a_digest(self) -> None:
        plain = image()
        del plain["metadata"]["digest"]  # type: ignore[attr-defined]
        self.assertIsNone(parse_artifacts([plain])[0].digest)


if __name__ == "__main__":
    unittest.main()
