"""What a job of Zuul sees: the items under test, the projects that are checked out, the artifacts of changes ahead.

This module must never look at the disk or the network, and never trust a value's shape: the variables come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.model import ImageReference
from topcoat.model.image import check_digest

_NEXT = "give the zuul-info/inventory.yaml of a build, or a file with the variable 'zuul'"
_DOOR = Door(UsageError, _NEXT)
_TAGS = frozenset({"!unsafe"})
"""What Zuul puts before text of authors."""


@dataclass(frozen=True)
class Item:
    """One entry of ``zuul['items']``: a change under test, or a branch tip in a periodic pipeline (then ``change`` is None)."""

    project: str
    """Canonical name, ``review.example.org/openstack/nova``."""
    name: str
    """Name inside its connection, ``openstack/nova``."""
    branch: str
    change: str | None = None
    patchset: str | None = None
    url: str | None = None
    topic: str | None = None


@dataclass(frozen=True)
class Project:
    """One entry of ``zuul.projects``: a checkout on the node, ``src_dir`` relative to the home of the job's user."""

    canonical_name: str
    name: str
    src_dir: str
    checkout: str
    commit: str | None = None


@dataclass(frozen=True)
class Artifact:
    """A container image of another build: ``repository:tag`` as its users name it, where it really is, and its digest where the builder told."""

    repository: str
    tag: str
    url: str
    digest: str | None
    image: str | None
    change: str | None
    job: str | None
    source: Mapping[str, object]
    """The entry as Zuul gave it."""

    @property
    def reference(self) -> ImageReference:
        """Where it really is, pinned where the builder told the digest.

        :raises UsageError: the url or the digest is none.
        """
        found = ImageReference.parse(self.url)
        return found.with_digest(check_digest(self.digest)) if self.digest else found


@dataclass(frozen=True)
class ZuulJob:
    """The part of the variable ``zuul`` that this product uses."""

    items: tuple[Item, ...] = ()
    projects: tuple[Project, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    pipeline: str = ""
    post_review: bool = False
    build: str = ""
    buildset: str = ""
    job: str = ""
    branch: str = ""
    project: str = ""
    """Canonical name of the project that the job runs for."""


def read_inventory(text: bytes | str, *, where: str | None = None) -> object:
    """A file of Zuul's variables (YAML or JSON) as plain data.

    :raises UsageError: it is neither.
    """
    return _DOOR.yaml(text, "the file of variables", where=where, tags=_TAGS)


def load_variables(text: bytes | str, *, where: str | None = None) -> Mapping[str, object]:
    """The variable ``zuul`` out of a file's text (YAML or JSON).

    Three shapes are understood: an inventory (``all: {vars: {zuul: ...}}``), a variables file (``zuul: ...``), the variable itself.

    :raises UsageError: none of these.
    """
    return variable(read_inventory(text, where=where), where=where)


def variable(loaded: object, *, where: str | None = None) -> Mapping[str, object]:
    """The same out of what :func:`read_inventory` read."""
    if isinstance(loaded, Mapping):
        found: Mapping[str, object] = loaded
        inventory = found.get("all")
        if isinstance(inventory, Mapping) and isinstance(inventory.get("vars"), Mapping):
            found = inventory["vars"]
        own = found.get("zuul")
        if isinstance(own, Mapping):
            return own
        if "items" in found or "buildset" in found or "artifacts" in found:
            return found
    raise UsageError("holds no variable 'zuul'", where=where, next_step=_NEXT)


def _text(mapping: Mapping[str, object], key: str) -> str | None:
    value, shape = mapping.get(key), _DOOR.shape("the variable zuul")
    if isinstance(value, bool):  # what YAML makes of a branch that is called "on"
        shape.refuse(key, "a text or a number")
    return shape.scalar(value, key) or None


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is a {type(value).__name__}, not a mapping", next_step=_NEXT)
    return value


def _sequence(value: object, what: str) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        # The classic mistake in a playbook: {{ zuul.items }} is the method of the dictionary.
        raise UsageError(f"{what} is a {type(value).__name__}, not a list", next_step="in Jinja write zuul['items'], never zuul.items")
    return value


def parse_job(variables: Mapping[str, object]) -> ZuulJob:
    """The typed view of the variable ``zuul``.

    :raises UsageError: a part has another shape than Zuul gives it.
    """
    items = tuple(_item(_mapping(entry, "an entry of zuul['items']")) for entry in _sequence(variables.get("items"), "zuul['items']"))
    projects = _mapping({} if variables.get("projects") is None else variables["projects"], "zuul.projects")
    own = variables.get("project")
    return ZuulJob(
        items=items,
        projects=tuple(_project(name, _mapping(entry, f"zuul.projects[{name!r}]")) for name, entry in projects.items()),
        artifacts=parse_artifacts(_sequence(variables.get("artifacts"), "zuul.artifacts")),
        pipeline=_text(variables, "pipeline") or "",
        post_review=bool(variables.get("post_review", False)),
        build=_text(variables, "build") or "",
        buildset=_text(variables, "buildset") or "",
        job=_text(variables, "job") or "",
        branch=_text(variables, "branch") or "",
        project="" if own is None else _text(_mapping(own, "zuul.project"), "canonical_name") or "",
    )


def _item(entry: Mapping[str, object]) -> Item:
    project = _mapping(entry.get("project"), "the project of an item")
    canonical = _text(project, "canonical_name")
    if canonical is None:
        raise UsageError("an item names a project without canonical_name", next_step=_NEXT)
    if _text(entry, "change") is None and _text(entry, "patchset") is not None:
        # taken for the tip of a branch it would be under no test
        raise UsageError(f"an item of {canonical} names a patch set and no change", next_step=_NEXT)
    return Item(
        project=canonical,
        name=_text(project, "name") or canonical,
        branch=_text(entry, "branch") or "",
        change=_text(entry, "change"),
        patchset=_text(entry, "patchset"),
        url=_text(entry, "change_url"),
        topic=_text(entry, "topic"),
    )


def _project(canonical: str, entry: Mapping[str, object]) -> Project:
    src_dir = _text(entry, "src_dir")
    if src_dir is None:
        raise UsageError(f"zuul.projects[{canonical!r}] has no src_dir", next_step=_NEXT)
    return Project(
        canonical_name=_text(entry, "canonical_name") or canonical,
        name=_text(entry, "name") or canonical,
        src_dir=src_dir,
        checkout=_text(entry, "checkout") or "",
        commit=_text(entry, "commit"),
    )


def parse_artifacts(entries: Sequence[object]) -> tuple[Artifact, ...]:
    """The container images among the entries of ``zuul.artifacts``, in their order (oldest change first).

    Entries of another type are left out: logs, pages and whatever else jobs return.

    :raises UsageError: a container image without url, repository or tag; metadata of another shape, which could be of one.
    """
    images = []
    for entry in entries:
        shape = _mapping(entry, "an entry of zuul.artifacts")
        metadata = {} if shape.get("metadata") is None else _mapping(shape["metadata"], "metadata of an artifact")
        if _text(metadata, "type") != "container_image":
            continue
        repository, tag, url = _text(metadata, "repository"), _text(metadata, "tag"), _text(shape, "url")
        if not (repository and tag and url):
            raise UsageError(
                f"the container image {shape.get('name')!r} has no url, repository or tag",
                next_step=f"repair what job {shape.get('job', '(unknown)')!r} returns; the shape is that of zuul-jobs",
            )
        images.append(
            Artifact(
                repository=repository,
                tag=tag,
                url=url,
                digest=_text(metadata, "digest"),
                image=_text(metadata, "image"),
                change=_text(shape, "change"),
                job=_text(shape, "job"),
                source=dict(shape),
            )
        )
    return tuple(images)


def newest_images(artifacts: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """One image for each ``repository:tag``, the last one Zuul named, in the order of their first appearance.

    Zuul lists changes ahead oldest first and jobs of this buildset last, so the last one holds all changes before it.
    """
    newest: dict[tuple[str, str], Artifact] = {}
    for artifact in artifacts:
        newest[(artifact.repository, artifact.tag)] = artifact
    return tuple(newest.values())
