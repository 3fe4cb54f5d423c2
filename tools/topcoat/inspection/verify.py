"""Whether published images are what they must be: the contract they promise, a program that starts, packages and images that are signed.

This module must never start a service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topcoat.errors import ContentError
from topcoat.inspection import signers
from topcoat.inspection.contract import Problem, check
from topcoat.inspection.remote import RemoteImages
from topcoat.inspection.running import Probe
from topcoat.inspection.signers import Signers
from topcoat.inspection.targets import ImageToInspect, ancestors
from topcoat.model import Profile, Recipe
from topcoat.registry import Registries
from topcoat.signing.check import SignedCheck


@dataclass
class Verified:
    """What was found about one image."""

    image: ImageToInspect
    problems: list[Problem]
    ran: tuple[int | None, str] | None = None
    """Exit code and first line of its program where that was asked; the code is None when it kept running."""
    signers: Signers | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For output; what was not asked for is not there."""
        image = self.image
        data: dict[str, object] = {
            "name": image.name,
            "reference": str(image.reference),
            "known": image.recipe is not None,
            "problems": [{"code": problem.code, "sentence": problem.sentence} for problem in self.problems],
        }
        if self.ran:
            data["ran"] = {"exit": self.ran[0], "output": self.ran[1]}
        if self.signers is not None:
            data["signatures"] = self.signers.as_dict()
        return data | ({"notes": self.notes} if self.notes else {})

    def lines(self) -> list[str]:
        """For people."""
        found = [f"{'FAIL' if self.problems else 'ok  '}  {self.image.name}{self._said()}"]
        found += [f"      {problem.code}: {problem.sentence}" for problem in self.problems]
        return [*found, *(f"      signatures: {note}" for note in self.notes)]

    def _said(self) -> str:
        if self.ran is None:
            return ""
        code, line = self.ran
        return f"  {line or 'no output'}" + ("" if code == 0 else "  (keeps running)" if code is None else f"  (exit {code})")


class Verification:
    """The checks that somebody asks for, one after the other, on some images."""

    def __init__(self, images: Sequence[ImageToInspect], registries: Registries, profile: Profile, **access: Any) -> None:
        """:param access: ``authfile``, ``ca_file`` and ``plain_http``: how external programs reach registries."""
        self._registries = registries
        self._profile = profile
        self._access = access
        self._remote = RemoteImages(registries, profile.platform)
        self.found = [Verified(image, []) for image in images]

    def contract(self, recipes: Mapping[str, Recipe], *, allow: Sequence[str] = (), storage: Path | None = None) -> None:
        """What every image of ours promises; see ``topcoat.inspection.check``.

        :param storage: folder for a container storage in which the program of each image is asked for its version; None: it is not.
        """
        probe = Probe(storage, **self._access) if storage else None
        try:
            for one in self.found:
                self._keeps(one, recipes, allow, probe)
        finally:
            if probe is not None:
                probe.close()

    def _keeps(self, one: Verified, recipes: Mapping[str, Recipe], allow: Sequence[str], probe: Probe | None) -> None:
        reference, recipe = one.image.reference, one.image.recipe
        image = self._remote.image(reference)
        config = image.config.get("config") or {}

        def owned(names: frozenset[str]) -> Iterable[str]:
            return self._remote.owned(reference, image, names)

        above = ancestors(recipe, recipes) if recipe else []
        one.problems += check(self._remote.tree(reference, image), config, recipe=recipe, ancestors=above, allow=allow, owned=owned)
        if probe is not None and config.get("Entrypoint"):
            try:
                one.ran = probe.version(reference, config["Entrypoint"][0], config.get("User") or "")
            except ContentError as error:
                one.problems.append(Problem("run", error.what))

    def package_signatures(self) -> None:
        """Who signed what is installed.

        What is wrong is a problem; unsigned packages and unknown keys are one where no repository of the profile would accept them, else a note.
        """
        strict = self._profile.promote_signatures == "required" or not signers.accepts_unsigned(self._profile)
        keyring = signers.profile_keyring(self._profile)
        try:
            images = {str(one.image.reference): (one.image.reference, self._remote.image(one.image.reference)) for one in self.found}
            examined = signers.examine(images, self._registries, keyring)
        finally:
            keyring.close()
        for one in self.found:
            one.signers = examined[str(one.image.reference)]
            for number, line in enumerate(one.signers.faults()):
                if strict or number < len(one.signers.wrong):
                    one.problems.append(Problem("signature", line))
                else:
                    one.notes.append(line)

    def signed(self, file: Path) -> None:
        """Whether each image is signed as it must be.

        Whoever gives a key gets our own words for what is missing, beside the judgement of the code that podman runs.

        :param file: a public key, or a policy of podman.
        """
        references = [one.image.reference for one in self.found]
        with SignedCheck(self._registries, self._profile.platform, file, references, **self._access) as signatures:
            for one in self.found:
                found = signatures.of(one.image.reference, self._remote.image(one.image.reference).layers)
                one.problems += [Problem("signed", sentence) for sentence in found.problems]
                one.notes += [found.note] if found.note else []
