"""What a job returns: images, findings, joined receipts, merging."""

from __future__ import annotations

import unittest
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageResult, Receipt, Status
from topcoat.report.document import require_finished
from topcoat.report.figures import is_covered
from topcoat.zuul import join_receipts, merge_returned, parse_artifacts, returned_artifacts, returned_findings

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


def result(name: str = "nova-api", **more: object) -> ImageResult:
    """One published image."""
    values: dict[str, object] = {
        "name": name,
        "status": "done",
        "action": "update",
        "reason": "rpm-gated",
        "sentence": "",
        "repository": f"r.example.org:5000/ns/{name}",
        "tag": "b1",
        "digest": DIGEST,
    }
    return ImageResult(**{**values, **more})  # type: ignore[arg-type]


def receipt(*images: ImageResult, **more: object) -> Receipt:
    """A run."""
    values: dict[str, object] = {"profile": "demo", "tag": "b1", "status": "done", "started": 1.0, "finished": 2.0, "images": images}
    return Receipt(**{**values, **more})  # type: ignore[arg-type]


class Artifacts(unittest.TestCase):
    def test_the_shape_of_zuul_jobs_with_a_digest(self) -> None:
        data = returned_artifacts(receipt(result(base_digest=OTHER)))
        self.assertEqual(
            data,
            {
                "zuul": {
                    "artifacts": [
                        {
                            "name": "ns/nova-api:b1",
                            "url": "docker://r.example.org:5000/ns/nova-api:b1",
                            "metadata": {
                                "type": "container_image",
                                "repository": "ns/nova-api",
                                "tag": "b1",
                                "image": "nova-api",
                                "digest": DIGEST,
                                "action": "update",
                                "reason": "rpm-gated",
                                "base_digest": OTHER,
                            },
                        }
                    ]
                }
            },
        )

    def test_users_look_for_the_floating_tag_but_get_the_unique_one(self) -> None:
        (artifact,) = returned_artifacts(receipt(result(), floating_tags=("current-passed-ci",)))["zuul"]["artifacts"]  # type: ignore[index]
        self.assertEqual((artifact["metadata"]["tag"], artifact["url"]), ("current-passed-ci", "docker://r.example.org:5000/ns/nova-api:b1"))

    def test_a_mirrored_namespace_names_the_upstream_host(self) -> None:
        """What use-buildset-registry of zuul-jobs mirrors: <registry>/<upstream host>/<namespace>/<image>."""
        (artifact,) = returned_artifacts(receipt(result(repository="r:5000/quay.io/ns/nova-api")))["zuul"]["artifacts"]  # type: ignore[index]
        self.assertEqual(artifact["metadata"]["repository"], "quay.io/ns/nova-api")

    def test_what_is_returned_is_understood_again(self) -> None:
        (found,) = parse_artifacts(returned_artifacts(receipt(result()))["zuul"]["artifacts"])  # type: ignore[index]
        self.assertEqual((found.image, found.digest, found.tag), ("nova-api", DIGEST, "b1"))

    def test_a_set_with_holes_is_not_returned(self) -> None:
        for status in ("failed", "cancelled"):
            with self.subTest(status), self.assertRaisesRegex(ContentError, "are not returned"):
                returned_artifacts(receipt(result(), status=status))
        with self.assertRaisesRegex(ContentError, "no published image"):
            returned_artifacts(receipt())
        with self.assertRaisesRegex(ContentError, "without a digest"):
            returned_artifacts(receipt(result(digest=None)))

    def test_images_allowed_to_fail_are_left_out(self) -> None:
        data = returned_artifacts(receipt(result(), result("x", status="failed", digest=None), status="partial"))
        self.assertEqual(len(data["zuul"]["artifacts"]), 1)  # type: ignore[index]


class Findings(unittest.TestCase):
    def test_nothing_to_say(self) -> None:
        self.assertEqual(returned_findings(receipt(result())), {"zuul": {}})

    def test_page_and_warnings(self) -> None:
        data = returned_findings(receipt(result(warnings=("old base",)), warnings=("slow",)), report_url="container-images/node1/logs/report.html")
        self.assertEqual(data["zuul"]["warnings"], ["slow", "nova-api: old base"])  # type: ignore[index]
        self.assertEqual(data["zuul"]["artifacts"][0]["url"], "container-images/node1/logs/report.html")  # type: ignore[index]

    def test_many_warnings_are_cut(self) -> None:
        warnings = returned_findings(receipt(warnings=tuple(map(str, range(30)))))["zuul"]["warnings"]  # type: ignore[index]
        self.assertEqual((len(warnings), warnings[-1]), (20, "and 11 more, in the report"))

    def test_a_failure_becomes_a_comment_on_its_line(self) -> None:
        error = {"what": "no package foo", "next_step": "remove it"}
        failed = result(status="failed", error=error, where="/home/zuul/topcoat/source/container-images/openstack/nova.yaml:12")
        data = returned_findings(receipt(failed, status="failed"), comments=True)
        expected = [{"line": 12, "message": "nova-api: no package foo\nremove it", "level": "error"}]
        self.assertEqual(data["zuul"]["file_comments"], {"container-images/openstack/nova.yaml": expected})  # type: ignore[index]
        self.assertEqual(returned_findings(receipt(failed, status="failed")), {"zuul": {}}, "another project has no such file")

    def test_the_line_of_the_error_before_that_of_the_recipe(self) -> None:
        failed = result(status="failed", error={"what": "x", "where": "container-images/a.yaml:3"}, where="container-images/a.yaml:1")
        comments = returned_findings(receipt(failed, status="failed"), comments=True)["zuul"]["file_comments"]  # type: ignore[index]
        self.assertEqual(comments["container-images/a.yaml"][0]["line"], 3)

    def test_places_outside_the_recipes_are_no_comment(self) -> None:
        for where in (
            "",
            "somewhere",
            "/etc/x.yaml:3",
            "container-images/a.yaml:x",
            "container-images/a.yaml:²",
            f"container-images/a.yaml:{'9' * 5000}",
        ):
            failed = result(status="failed", error={"what": "x"}, where=where)
            with self.subTest(where):
                self.assertEqual(returned_findings(receipt(failed, status="failed"), comments=True), {"zuul": {}})


class Joining(unittest.TestCase):
    def test_shards_add_up(self) -> None:
        one = receipt(result("a"), result("base"), started=1.0, finished=5.0, coverage=({"package": "p", "images": ["a"], "covered": True},))
        two = receipt(
            result("base"),
            result("b"),
            started=2.0,
            finished=9.0,
            warnings=("w",),
            coverage=({"package": "p", "images": [], "covered": False}, {"package": "q", "images": ["b"], "covered": True}),
        )
        joined = join_receipts([one, two])
        self.assertEqual([image.name for image in joined.images], ["a", "base", "b"])
        self.assertEqual((joined.started, joined.finished, joined.status, joined.warnings), (1.0, 9.0, "done", ("w",)))
        self.assertEqual(
            [(entry["package"], entry["covered"], entry["images"]) for entry in joined.coverage], [("p", True, ["a"]), ("q", True, ["b"])]
        )

    def test_an_image_with_another_version_is_not_lost_in_the_sum(self) -> None:
        wrong = {"package": "p", "images": [], "covered": False, "wrong": [{"image": "b", "evr": "1-1"}]}
        right = {"package": "p", "images": ["a"], "covered": True}
        waived = {"package": "p", "images": [], "covered": False, "waived_by": "p*"}
        for order in ((right, wrong), (wrong, right)):
            (entry,) = join_receipts([receipt(coverage=(part,)) for part in order]).coverage
            self.assertFalse(is_covered(entry), order)
        (entry,) = join_receipts([receipt(coverage=(part,)) for part in (waived, right)]).coverage
        self.assertEqual((True, None), (entry["covered"], entry["waived_by"]))

    def test_nodes_that_saw_other_repositories_or_packages_make_no_set(self) -> None:
        one = receipt(repositories=(("r", "1" * 64),), gated=({"package": "p"},))
        for other in (replace(one, repositories=(("r", "2" * 64),)), replace(one, gated=({"package": "q"},))):
            with self.assertRaisesRegex(ContentError, "their images belong to no set") as caught:
                join_receipts([one, other])
            self.assertIn("--view", caught.exception.next_step)
        unplanned = replace(one, repositories=(), gated=(), status=Status.FAILED)
        join_receipts([one, unplanned])
        with self.assertRaisesRegex(ContentError, "several states of the repositories"):
            join_receipts([unplanned, one, replace(one, repositories=(("r", "2" * 64),))])

    def test_a_part_alone_is_no_set(self) -> None:
        one, two = receipt(result("a"), shard="1/2"), receipt(result("b"), shard="2/2")
        joined = join_receipts([one, two])
        self.assertEqual(("", ["a", "b"]), (joined.shard, [image.name for image in joined.images]))
        self.assertEqual(2, len(returned_artifacts(joined)["zuul"]["artifacts"]))  # type: ignore[index]
        for partial in ([one], [one, one], [one, receipt()], [two, receipt(shard="1/3")]):
            with self.assertRaisesRegex(ContentError, "receipts of the parts .* are missing"):
                join_receipts(partial)
        for read in (returned_artifacts, require_finished):
            with self.assertRaisesRegex(ContentError, "is of part 1/2") as caught:
                read(one)
            self.assertIn("join-receipts", caught.exception.next_step)
        self.assertIs(one, require_finished(one, part=True))

    def test_the_worst_status_speaks(self) -> None:
        for statuses, expected in (
            (("done", "failed"), "failed"),
            (("partial", "done"), "partial"),
            (("cancelled", "failed"), "failed"),
        ):
            self.assertEqual(join_receipts([receipt(status=status) for status in statuses]).status, expected)

    def test_a_result_is_better_than_none(self) -> None:
        skipped = result(status="skipped", digest=None)
        for order in ((skipped, result()), (result(), skipped)):
            self.assertEqual(join_receipts([receipt(image) for image in order]).images[0].status, "done")

    def test_shards_that_disagree_are_refused(self) -> None:
        with self.assertRaisesRegex(ContentError, "was published twice"):
            join_receipts([receipt(result()), receipt(result(digest=OTHER))])
        with self.assertRaisesRegex(UsageError, "of different runs"):
            join_receipts([receipt(), replace(receipt(), tag="b2")])
        with self.assertRaisesRegex(UsageError, "no receipts"):
            join_receipts([])


KEYS = st.sampled_from(["a", "b", "zuul", "warnings"])
DATA = st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


class Merging(unittest.TestCase):
    """The rules themselves are compared with Zuul's in tests/zuul_config."""

    @given(st.dictionaries(st.sampled_from(["a", "b"]), DATA, max_size=2))
    def test_nothing_changes_nothing(self, data: dict[str, object]) -> None:
        self.assertEqual(merge_returned(data, {}), data)
        self.assertEqual(merge_returned({}, data), data)

    def test_lists_of_zuul_add_up_and_inputs_stay(self) -> None:
        first = {"zuul": {"artifacts": [1], "file_comments": {"f": [1]}}}
        second = {"zuul": {"artifacts": [2], "file_comments": {"f": [2]}}}
        self.assertEqual(merge_returned(first, second), {"zuul": {"artifacts": [2, 1], "file_comments": {"f": [1, 2]}}})
        self.assertEqual(first, {"zuul": {"artifacts": [1], "file_comments": {"f": [1]}}})


if __name__ == "__main__":
    unittest.main()
