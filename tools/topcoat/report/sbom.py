"""The bill of materials of an image, made from its inventory: CycloneDX 1.6 and SPDX 2.3, both as JSON.

This module must never look inside an image: what the rpm database lists is what is reported, no more and no less. The same image gives the same
bytes: identifiers are derived from its digest, times are given by the caller.

Scanners drop packages of which they do not know the operating system. They learn it from a component of that type, which all packages hang on, or
from the qualifier ``distro`` of the packages' URLs: both are there. The hash of a package is the sha256 of its header (``%{SHA256HEADER}`` of rpm).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from topcoat import release
from topcoat.changes.compare import source_parts
from topcoat.errors import UsageError
from topcoat.model import ImageReference, Nevra
from topcoat.model.moments import rfc3339
from topcoat.report import licences as licences_of

CYCLONEDX_TYPE = "application/vnd.cyclonedx+json"
SPDX_TYPE = "application/spdx+json"
_NAMESPACE = uuid.UUID("0b0f1c53-6d0e-5c26-9f39-3a1f4f4f3f0e")


@dataclass(frozen=True)
class System:
    """The operating system of an image in the terms of os-release: ``id`` (``centos``) and ``version`` (``9``)."""

    id: str
    version: str

    @property
    def distro(self) -> str:
        """Value of the qualifier ``distro`` of package URLs; scanners split it at the hyphen."""
        return f"{self.id}-{self.version}" if self.version else self.id


@dataclass(frozen=True)
class Subject:
    """The image that a bill is about. ``created`` is seconds since the epoch."""

    reference: ImageReference
    created: float
    system: System

    @property
    def name(self) -> str:
        """Last part of the repository."""
        return self.reference.repository.rpartition("/")[2]

    @property
    def supplier(self) -> str:
        """Who hands the image out: registry and namespace."""
        return f"{self.reference.host}/{self.reference.repository.rpartition('/')[0]}".rstrip("/")

    @property
    def purl(self) -> str:
        """Package URL of type ``oci``."""
        repository = quote(f"{self.reference.host}/{self.reference.repository}", safe="")
        tag = f"&tag={quote(self.reference.tag, safe='')}" if self.reference.tag else ""
        return f"pkg:oci/{quote(self.name, safe='')}@{quote(self.reference.digest or '', safe='')}?repository_url={repository}{tag}"

    @property
    def moment(self) -> str:
        """Creation as RFC 3339, UTC."""
        return rfc3339(self.created)


@dataclass(frozen=True)
class Material:
    """One installed package; ``license`` and ``vendor`` in the packager's own words, ``sha256`` of its header, ``module`` the label of its module
    build (``name:stream:version:context``); empty: it does not say."""

    nevra: Nevra
    source_rpm: str
    license: str = ""
    vendor: str = ""
    sha256: str = ""
    module: str = ""


def purl(material: Material, system: System) -> str:
    """Package URL of type ``rpm`` (purl-spec, type definition rpm): epoch, arch, distribution, source RPM and module are qualifiers.

    Advisories of modular distributions hold for one stream: without ``rpmmod`` a scanner takes another stream's fix for this package's.
    """
    nevra = material.nevra
    qualifiers = {"arch": nevra.arch, "distro": system.distro}
    if nevra.epoch:
        qualifiers["epoch"] = str(nevra.epoch)
    if material.source_rpm:
        qualifiers["upstream"] = material.source_rpm
    if material.module:
        qualifiers["rpmmod"] = material.module
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(qualifiers.items()))
    return f"pkg:rpm/{quote(system.id, safe='')}/{quote(nevra.name, safe='')}@{quote(f'{nevra.version}-{nevra.release}', safe='')}?{text}"


def _hints(material: Material) -> dict[str, str]:
    """What readers of CycloneDX know by properties of their own only: advisories name source packages, which the format has no place for.

    Those of syft (and of grype, which reads with it) and of trivy, by which they read their own bills.
    """
    hints = {"syft:package:type": "rpm", "syft:package:metadataType": "rpm-db-entry"}
    if material.nevra.epoch:
        hints["syft:metadata:epoch"] = str(material.nevra.epoch)
    if material.module:
        hints |= {"syft:metadata:modularityLabel": material.module, "aquasecurity:trivy:Modularitylabel": material.module}
    source = source_parts(material.source_rpm)
    if source:
        # The name of a source RPM has no epoch; a source package has that of its packages.
        hints |= {"topcoat:source-rpm": material.source_rpm, "syft:metadata:sourceRpm": material.source_rpm}
        hints |= {f"aquasecurity:trivy:Src{part}": value for part, value in zip(("Name", "Version", "Release"), source, strict=True)}
        if material.nevra.epoch:
            hints["aquasecurity:trivy:SrcEpoch"] = str(material.nevra.epoch)
    return hints


def cyclonedx(subject: Subject, materials: Iterable[Material]) -> str:
    """CycloneDX 1.6 JSON.

    :raises UsageError: the library for it is not installed (extra ``sbom``).
    """
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.model.contact import OrganizationalEntity
        from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise UsageError(
            f"CycloneDX needs a library that is not installed: {error.name}", next_step="pip install 'topcoat[sbom]', or --sbom-format spdx"
        ) from error
    image = Component(
        type=ComponentType.CONTAINER,
        name=subject.name,
        version=subject.reference.digest,
        bom_ref=subject.purl,
        purl=PackageURL.from_string(subject.purl),
        supplier=OrganizationalEntity(name=subject.supplier),
    )

    def licences(words: str) -> list[DisjunctiveLicense | LicenseExpression]:
        declared = LicenseAcknowledgement.DECLARED
        found = licences_of.expression(words)
        if " " in found:
            return [LicenseExpression(found, acknowledgement=declared)]
        if found:
            return [DisjunctiveLicense(id=found, acknowledgement=declared)]
        return [DisjunctiveLicense(name=words, acknowledgement=declared)] if words else []

    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, str(subject.reference.digest)), version=1)
    bom.metadata.timestamp = datetime.fromtimestamp(subject.created, UTC)
    bom.metadata.component = image
    bom.metadata.tools.components.add(Component(type=ComponentType.APPLICATION, name="topcoat", version=release()))
    system = Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=subject.system.id,
        version=subject.system.version or None,
        bom_ref=f"os:{subject.system.distro}",
        supplier=OrganizationalEntity(name=subject.system.id),
    )
    bom.components.add(system)
    components = []
    for material in sorted(materials, key=lambda entry: entry.nevra):
        text = purl(material, subject.system)
        found = Component(
            type=ComponentType.LIBRARY,
            name=material.nevra.name,
            version=material.nevra.evr,
            bom_ref=text,
            purl=PackageURL.from_string(text),
            licenses=licences(material.license),
            supplier=OrganizationalEntity(name=material.vendor) if material.vendor else None,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=material.sha256)] if material.sha256 else [],
            properties=[Property(name=name, value=value) for name, value in _hints(material).items()],
        )
        bom.components.add(found)
        components.append(found)
    bom.register_dependency(image, [system])
    bom.register_dependency(system, components)
    return json.dumps(json.loads(JsonV1Dot6(bom).output_as_string()), indent=1, sort_keys=True) + "\n"


def _spdx_id(text: str) -> str:
    """An SPDX identifier: letters, digits, dots and hyphens (SPDX 2.3, 7.2); other characters become their code, so that no two names meet."""
    return "SPDXRef-" + re.sub(r"[^a-zA-Z0-9.]", lambda match: f"-{ord(match[0]):x}-", text)


def _license_id(text: str) -> str:
    """Name of a licence in the packager's words that are no expression of SPDX (SPDX 2.3, 10.1): the text itself is in the document."""
    return f"LicenseRef-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@functools.lru_cache(maxsize=1 << 16)
def _spdx_package(material: Material, system: System) -> dict[str, object]:
    """A package's entry, to be read only: the images of a run share most of their packages, so each is made once."""
    package: dict[str, object] = {
        "SPDXID": _spdx_id(f"rpm-{material.nevra}"),
        "name": material.nevra.name,
        "versionInfo": material.nevra.evr,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licences_of.expression(material.license) or (_license_id(material.license) if material.license else "NOASSERTION"),
        "copyrightText": "NOASSERTION",
        "supplier": f"Organization: {material.vendor}" if material.vendor else "NOASSERTION",
        "primaryPackagePurpose": "LIBRARY",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(material, system)}],
    }
    if material.sha256:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": material.sha256}]
    source = source_parts(material.source_rpm)
    if source:
        epoch = f"{material.nevra.epoch}:" if material.nevra.epoch else ""
        # In the words by which trivy finds the source package.
        package["sourceInfo"] = f"built package from: {source[0]} {epoch}{source[1]}-{source[2]}"
    return package


def spdx(subject: Subject, materials: Iterable[Material]) -> str:
    """SPDX 2.3 JSON; licences that are no expression of SPDX are quoted as the packages tell them."""
    materials = sorted(materials, key=lambda entry: entry.nevra)
    packages: list[dict[str, object]] = [
        {
            "SPDXID": "SPDXRef-image",
            "name": subject.name,
            "versionInfo": str(subject.reference.digest),
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "supplier": f"Organization: {subject.supplier}",
            "primaryPackagePurpose": "CONTAINER",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": subject.purl}],
        },
        {
            "SPDXID": "SPDXRef-OperatingSystem",
            "name": subject.system.id,
            "versionInfo": subject.system.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "supplier": f"Organization: {subject.system.id}",
            "primaryPackagePurpose": "OPERATING-SYSTEM",
        },
    ]
    relations = [
        {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"},
        {"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-OperatingSystem"},
    ]
    for material in materials:
        package = _spdx_package(material, subject.system)
        packages.append(package)
        relations.append({"spdxElementId": "SPDXRef-OperatingSystem", "relationshipType": "CONTAINS", "relatedSpdxElement": str(package["SPDXID"])})
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{subject.reference.host}/{subject.reference.repository}@{subject.reference.digest}",
        "documentNamespace": f"https://topcoat.dev/spdx/{quote(subject.name, safe='')}/{str(subject.reference.digest).replace(':', '-')}",
        "creationInfo": {"created": subject.moment, "creators": [f"Tool: topcoat-{release()}"]},
        "packages": packages,
        "relationships": relations,
        "hasExtractedLicensingInfos": [
            {"licenseId": _license_id(text), "name": text, "extractedText": text}
            for text in sorted({material.license for material in materials if material.license and not licences_of.expression(material.license)})
        ],
    }
    return json.dumps(document, separators=(",", ":")) + "\n"
