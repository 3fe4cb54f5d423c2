"""RPMs under test, kept in a registry under the name of what they were made from.

In a gate queue the same tree is built again for every change behind it. Found here, it is the same bytes, and then the images that hold them are
found as well (``topcoat.runs.input_tags``): nothing of the change ahead is made twice.

This module must never hand out packages of another tree, and it trusts whoever can write the repository: see "who may write" in the operator's guide.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import astuple
from pathlib import Path

from topcoat import generation
from topcoat.errors import ContentError
from topcoat.gating.source import SourceTree
from topcoat.model import ImageReference, labels
from topcoat.registry import Descriptor, Registries
from topcoat.registry.tagged import TaggedDocuments, annotation

PACKAGES_TYPE = "application/vnd.topcoat.packages.v1+json"
_RPM = "application/x-rpm"
_HEX = 40
_FILE = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+~^:-]{0,240}\.rpm")


class PackageStore:
    """One repository of a registry, with one artifact for each tree that was built.

    :param repository: ``host[:port]/path``.
    """

    def __init__(self, registries: Registries, repository: str) -> None:
        target = ImageReference.parse(repository)
        self._client = registries.client(target.host)
        self._repository = target.repository
        self._documents = TaggedDocuments(self._client, target.repository)

    @staticmethod
    def tag(tree: SourceTree, environment: str) -> str:
        """The name of what comes out: project, files, a spec file that is not one of them, the machine's part of the build, the code that builds."""
        packaging = astuple(tree.packaging) if tree.packaging else ()
        text = json.dumps([generation.packages(), tree.project, tree.tree, packaging, environment])
        return f"packages-{hashlib.sha256(text.encode()).hexdigest()[:_HEX]}"

    def fetch(self, tree: SourceTree, environment: str, folder: Path) -> list[Path]:
        """The packages that were kept for a tree, written into a folder; an empty list when there are none.

        :raises ContentError: what is kept is not what its tag says.
        :raises InfrastructureError: the registry does not answer.
        """
        tag = self.tag(tree, environment)
        if self._client.head(self._repository, tag) is None:
            return []
        manifest = self._documents.manifest(tag)
        if manifest is None:
            return []  # collected as garbage between the two questions
        document = manifest.document
        if document.get("artifactType") != PACKAGES_TYPE or annotation(manifest, labels.TREE) != tree.tree:
            raise ContentError(
                f"{self._client.host}/{self._repository}:{tag} does not hold packages of {tree.project} at tree {tree.tree[:12]}",
                next_step="remove that tag, and look who else can write to this repository",
            )
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for layer in document.get("layers") or ():
            found = Descriptor.parse(layer)
            name = dict(found.annotations).get(labels.TITLE, "")
            if not _FILE.fullmatch(name):
                raise ContentError(
                    f"{self._client.host}/{self._repository}:{tag} names a package {name[:80]!r}",
                    next_step="remove that tag, and look who else can write to this repository",
                )
            with self._client.stream_blob(self._repository, found.digest, found.size) as chunks, (folder / name).open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            files.append(folder / name)
        return sorted(files)

    def keep(self, tree: SourceTree, environment: str, files: list[Path]) -> None:
        """Keep the packages that a tree was built into; what is there already under this name stays, because images may hold it."""
        tag = self.tag(tree, environment)
        if self._client.head(self._repository, tag) is not None:
            return
        layers = [self._documents.keep(file.read_bytes(), _RPM, {labels.TITLE: file.name}) for file in sorted(files)]
        self._documents.write(tag, PACKAGES_TYPE, {labels.TREE: tree.tree, labels.PROJECT: tree.project}, layers)
