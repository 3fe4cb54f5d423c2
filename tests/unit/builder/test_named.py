"""Images that a Containerfile names: they are fetched before a build that has no registry in reach."""

import unittest

from topcoat.builder.named import images


class Named(unittest.TestCase):
    def test_every_way_to_name_one(self) -> None:
        text = (
            "# FROM comment\nARG TAG=9\nARG WHOLE\nFROM --platform=linux/amd64 host/base:${TAG} AS Build\n"
            "RUN --mount=type=bind,from=host/tool,target=/t x\n"
            "FROM scratch as empty\nCOPY --from=build /a /b\nCOPY --chown=1:1 --from=host/files /a /b\nCOPY --from=0 /a /b\n"
            'FROM \\\n  "$WHOLE"\nRUN echo from=nothing and COPY --from=no\nADD a /from\n'
        )
        self.assertEqual(images(text, {"WHOLE": "host/whole@sha256:1"}), ["host/base:9", "host/tool", "host/files", "host/whole@sha256:1"])
        self.assertEqual(images("ARG TAG=9\nFROM host/base:$TAG\nFROM host/base:10\n", {"TAG": "10"}), ["host/base:10"])
