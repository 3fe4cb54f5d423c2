"""A profile: everything a site decides.

This module must never hold a password: credentials live in auth files only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topcoat.model.image import Digest

_GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}
"""RPM's names of architectures where Go has another; ppc64le, s390x and riscv64 are the same in both."""

ARCHITECTURES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64")
"""Those that one index can hold images for, as RPM names them."""

KNOWN_ARCHITECTURES = (*ARCHITECTURES, "x86_64_v2", "x86_64_v3", "armv7hl", "i686")
"""Those that a single image can be for: what libsolv and rpm know."""

IMAGE_FORMATS = ("auto", "oci", "docker")
"""See ``Profile.image_format``."""

COMPRESSION_FORMATS = ("gzip", "zstd", "zstd:chunked")
"""See ``Profile.compression_format``."""

MISSING = ("fail", "late", "carry")
"""What an index does about an architecture whose images are not there; see ``Architecture``."""


@dataclass(frozen=True)
class Architecture:
    """An architecture that a site has images for. ``name`` is RPM's."""

    name: str
    missing: str = "fail"
    """When its images are not there: ``fail``: no index is made. ``late``: the index is made without it, and again when it has come. ``carry``: the
    index takes the image that the reference tag shows for it."""


def platform_of(arch: str) -> str:
    """``os/architecture`` as images name it (OCI image specification, "Platform Variants": Go's GOARCH), of an RPM architecture."""
    return f"linux/{_GOARCH.get(arch, arch)}"


@dataclass(frozen=True)
class Base:
    """The image that the roots of the tree start from, pinned."""

    image: str
    """``host/repository[:tag]``; the tag is only a hint where to look for a newer digest."""
    digest: Digest | None = None
    mirror: str = ""
    """``host/repository`` of ours that holds the pinned image too; where there is one, builds take the image from there."""

    @property
    def source(self) -> str:
        """What builds start from, without the digest: the mirror, else the image."""
        return self.mirror if self.mirror and self.digest else self.image


@dataclass(frozen=True)
class SignaturePolicy:
    """What is asked of the signatures of a repository's packages."""

    signed: str = "optional"
    """``required``: each package carries a signature by one of the keys. ``optional``: unsigned ones and those of unknown keys are accepted, a
    signature by a known key must hold, and nothing may be damaged. ``never``: not looked at."""
    keys: tuple[str, ...] = ()
    """URLs of public key files."""
    metadata: str = "never"
    """``required``: repomd.xml is signed by one of the keys as well (``repomd.xml.asc``); ``never``: not looked at."""


@dataclass(frozen=True)
class Link:
    """What in a changelog leads where. ``match`` is a regular expression; in ``url`` ``{0}`` is what it found and ``{1}`` its first group."""

    match: str
    url: str


@dataclass(frozen=True)
class WantedImages:
    """Which images of the tree a site has: those of an image list, and what they start from."""

    source: str
    """A name under ``lists/``, or the absolute path of a list in any of the forms that are read."""
    values: tuple[tuple[str, str], ...] = ()
    """Variables of the list that do not have their default."""
    exclude: tuple[str, ...] = ()
    """Regular expressions, searched in the name, of entries to leave out."""


@dataclass(frozen=True)
class Repository:
    """One yum repository of a repo set; options as in dnf.conf(5)."""

    id: str
    baseurl: str
    """``file://``, ``http://`` or ``https://``."""
    priority: int = 99
    """1 to 99, lower wins."""
    includepkgs: tuple[str, ...] = ()
    excludepkgs: tuple[str, ...] = ()
    module_hotfixes: bool = False
    updates: bool = True
    """Whether newer packages here are a reason for an update layer; False: only used to satisfy requirements."""
    gated: bool = False
    """The gating repository: its packages are installed at exactly their NEVRA, also when that is a downgrade."""
    signatures: SignaturePolicy = SignaturePolicy()
    ca_file: str | None = None
    """PEM file of the authorities that its server may be certified by, beside the system's."""


@dataclass(frozen=True)
class Profile:
    """What a run is made for."""

    name: str
    distro: str
    release: str
    arch: str
    base: Base
    repositories: tuple[Repository, ...]
    registry: str
    """``host[:port]``."""
    namespace: str
    prefix: str = ""
    suffix: str = ""
    reference_tag: str = "current-passed-ci"
    reference_registry: str = ""
    """``host[:port]`` that holds the reference images; empty: the registry we publish to."""
    reference_namespace: str = ""
    """Namespace of the reference images; empty: ours."""
    not_containerised: tuple[str, ...] = ()
    """fnmatch patterns of package names that no image has to hold (coverage)."""
    allowed_to_fail: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    install_options: tuple[str, ...] = ("--setopt=install_weak_deps=False", "--nodocs")
    """Options of ``dnf install`` in Containerfiles."""
    gating_signatures: SignaturePolicy = SignaturePolicy()
    """Of the repository of the changes under test."""
    promote_signatures: str = "optional"
    """``required``: a set is promoted only when every package in it is signed by one of the profile's keys."""
    image_format: str = IMAGE_FORMATS[0]
    """Format of built images: ``oci``, ``docker``, or ``auto`` (Docker's where an image has a health check, else OCI's)."""
    compression_format: str = COMPRESSION_FORMATS[0]
    """Of new layers: ``gzip``, ``zstd`` or ``zstd:chunked``; those of images in Docker's format are gzip's. No reason to make an image anew."""
    images: WantedImages | None = None
    """None: the whole tree."""
    architectures: tuple[Architecture, ...] = ()
    """In the order in which an index holds them; ``arch`` is one of them. Empty: there is ``arch`` alone, and no index."""
    links: tuple[Link, ...] = ()
    """Where bug numbers, CVEs and change ids in changelogs lead."""
    overrides: tuple[tuple[str, tuple[tuple[str, object], ...]], ...] = field(default=())
    """Additions per selector (image name, family or class): applied by ``topcoat.recipes.applying``."""

    @property
    def keys(self) -> tuple[str, ...]:
        """URLs of every key file that the profile names."""
        policies = (*(repository.signatures for repository in self.repositories), self.gating_signatures)
        return tuple(dict.fromkeys(key for policy in policies for key in policy.keys))

    @property
    def place(self) -> str:
        """``host[:port]/namespace`` that is published to."""
        return f"{self.registry}/{self.namespace}".rstrip("/")

    @property
    def platform(self) -> str:
        """``os/architecture`` of the images; see ``platform_of``."""
        return platform_of(self.arch)

    def run_tag(self, tag: str) -> str:
        """The tag that a run for this architecture gives its images when ``tag`` is to be that of the set: where a site has several architectures,
        each has a tag of its own, and the set's own tag is that of the indexes over them."""
        return f"{tag}-{self.arch}" if self.architectures else tag

    def reference_repository_of(self, image: str) -> str:
        """Repository path of the reference image of an image name, in the reference registry."""
        name = f"{self.prefix}{image}{self.suffix}"
        namespace = self.reference_namespace or self.namespace
        return f"{namespace}/{name}" if namespace else name

    def repository_of(self, image: str) -> str:
        """Repository path of an image name: ``namespace/prefix+name+suffix``."""
        name = f"{self.prefix}{image}{self.suffix}"
        return f"{self.namespace}/{name}" if self.namespace else name
