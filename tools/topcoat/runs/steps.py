"""The work on one image, stage by stage: look whether it is done already, make it, publish it.

This module must never move a floating tag: that is for the end of the run, when the whole set is proven.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from topcoat.engine import Context, of_kind
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.layers import BuiltImage
from topcoat.model import Action, Digest, ImageReference, ImageRepository, LayerSize, Nevra, PlannedImage, Recipe, RunOptions, labels
from topcoat.model.ancestry import chain
from topcoat.publisher import Publisher, Source
from topcoat.publisher.changelogs import ChangelogWriter
from topcoat.registry import INVENTORY_TYPE, Image, NotFoundError, Registries, digest_of, image_manifest
from topcoat.registry.oci import parse_image, to_json, with_labels
from topcoat.rpm.inventory import Inventory
from topcoat.runs import bills, claims, input_tags
from topcoat.runs.claims import Sketch
from topcoat.runs.host_maker import HostMaker
from topcoat.runs.locks import Locks
from topcoat.runs.planning import Decision
from topcoat.runs.published import ImageOutcome
from topcoat.runs.references import ImageReader, ReferenceImage, StoredImage, collect, reference_names
from topcoat.runs.same_builds import SameBuilds

SKETCH = "files.gz"
"""Name of the document of an image's files, among those of its inventory."""
FOUND = "found"
"""How an image came about that the registry held before."""


@dataclass(frozen=True)
class Looked:
    """What the stage ``look`` found."""

    base: StoredImage
    """What the image is made from."""
    input_tag: str
    digest: Digest | None = None
    """What the input tag shows."""
    outcome: ImageOutcome | None = None
    """The finished image, where that is all that has to be done."""


class Steps:
    """Stage functions for every image of a plan; one object a run, shared by its threads."""

    def __init__(
        self,
        decision: Decision,
        options: RunOptions,
        *,
        maker: HostMaker,
        publisher: Publisher,
        registries: Registries,
        reader: ImageReader,
        locks: Locks | None = None,
    ) -> None:
        self._decision = decision
        self._options = options
        self._maker = maker
        self._publisher = publisher
        self._registries = registries
        self._reader = reader
        self._bases: dict[str, StoredImage] = {}
        self._bases_lock = threading.Lock()
        self._changelogs = ChangelogWriter()
        self._locks = locks
        self._same_builds = SameBuilds(decision.snapshot)

    def _place_of(self, name: str) -> ImageRepository:
        profile = self._decision.request.profile
        return ImageRepository(profile.registry, profile.repository_of(name))

    # ---- stages -----------------------------------------------------------------------------------------------------------------------------

    def tag(self, planned: PlannedImage) -> ImageOutcome:
        """reuse: the reference's manifest under our tag; blobs travel only where the reference lies in another registry."""
        reference = self._decision.references[planned.name]
        if reference is None:
            raise ContentError("nothing to reuse: the reference image is gone since the plan", image=planned.name, next_step="plan again")
        stored = reference.base if planned.reference == reference.base.digest else reference.stored
        inventory = self._reader.inventory(stored)
        self._require_wanted(planned, inventory)
        place = self._place_of(planned.name)
        here = replace(stored, host=place.host, repository=place.path)
        pushed = mounted = 0
        if stored.place == place:
            self._publisher.move_tag(place, stored.digest, self._options.tag)
        else:
            copied = self._publisher.copy(stored.reference, place.tag(self._options.tag))
            pushed, mounted = copied.bytes_pushed, copied.bytes_mounted
        if stored.place != place or not stored.claim.files:
            self._attach_if_missing(here, inventory)
        self._read_back(here)
        return ImageOutcome(
            here,
            inventory.nevras,
            stored.digest,
            "tag",
            bytes_pushed=pushed,
            bytes_mounted=mounted,
            layers=_layers(here),
            changes=planned.changes,
            signers=inventory.signers,
            unsigned=inventory.unsigned,
        )

    def look(self, context: Context, planned: PlannedImage) -> Looked:
        """build and update: has an earlier run, perhaps one that was killed, finished exactly this? Then only our tag is missing.

        Whoever can write to the repository can give an input tag to any image, and nothing in an image says that its files are those which this work
        would make. So what is there is taken as it is only where this work folder knows that it made exactly that; else the work is done, and what
        comes out tells whether the registry held it.
        """
        base = self._start(context, planned)
        name = self._input_tag(planned, base)
        place = self._place_of(planned.name).tag(name)
        digest = self._registries.client(place.host).head(place.repository, name)
        if digest is None or not self._reader.is_made_of(digest, name):
            return Looked(base, name, digest)
        found = self._reader.find(place.with_digest(digest))
        if found is None:
            return Looked(base, name)
        inventory = self._reader.inventory(found)
        self._require_wanted(planned, inventory)
        self._complete(found, inventory)
        self._publisher.move_tag(found.place, found.digest, self._options.tag)
        self._read_back(found)
        signed = {"signers": inventory.signers, "unsigned": inventory.unsigned}
        done = ImageOutcome(found, inventory.nevras, base.digest, FOUND, planned.changes, layers=_layers(found), **signed)  # type: ignore[arg-type]
        return Looked(base, name, found.digest, done)

    def make(self, context: Context, planned: PlannedImage) -> BuiltImage | None:
        """The layers, unless ``look`` found them."""
        looked = of_kind(context.stage_result("look"), Looked)
        if looked.outcome is not None:
            return None
        base = looked.base
        log = self._options.log_of(planned.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if planned.action is Action.UPDATE:
            return self._maker.update(planned, base, log)
        recipe = self._decision.request.recipes[planned.name]
        inventory = self._reader.inventory(base)
        if not inventory.rpmdb_path:
            raise ContentError(
                f"{base.reference} holds no rpm database, so nothing can be installed on it",
                image=planned.name,
                next_step="build on an image of an RPM distribution",
            )
        return self._maker.build(planned, recipe, base, inventory, log)

    def publish(self, context: Context, planned: PlannedImage) -> ImageOutcome:
        """Push, attach bill of materials and inventory, read back, and only then our unique tag."""
        looked = of_kind(context.stage_result("look"), Looked)
        if looked.outcome is not None:
            return looked.outcome
        built = of_kind(context.stage_result("make"), BuiltImage)
        base = looked.base
        place = self._place_of(planned.name)
        blobs: dict[Digest, Source] = {layer.digest: base.place for layer in base.image.layers}
        blobs |= {layer.digest: layer.path for layer in built.layers}
        # The input tag may come first: who finds it without an inventory does the work again.
        inventory = built.inventory or self._reader.inventory(base)
        self._require_wanted(planned, inventory)
        if built.inventory is not None:
            inventory, changelogs = inventory.with_changelogs(self._inventory_below(planned, base))
            if changelogs is not None:
                self._changelogs.store(self._registries.client(place.host), place.path, changelogs)
        files = inventory.to_files() | ({SKETCH: built.sketch} if built.sketch else {})
        made = self._with_claim(planned, built, inventory, base)
        if planned.action is Action.UPDATE and base.place not in (place, self._reference_place(planned.name)):
            # The next run computes the next update from it, whatever the maker's registry holds by then.
            self._publisher.copy(base.reference, place.at(base.digest))
        there = looked.digest == digest_of(image_manifest(made)[0])
        # An update whose tag shows nothing is new. A build may give what is there under another tag: a rebuild from newer repositories, most of all.
        fresh = planned.action is Action.UPDATE and looked.digest is None and bool(built.layers)
        known = there if there or fresh else None
        # What the registry took is proven with our own tag, at the end.
        new = {layer.digest for layer in built.layers if not layer.shared} if fresh else set()
        published = self._publisher.publish(place, made, blobs, () if there else (looked.input_tag,), read_back=False, there=known, new=new)
        image = parse_image(published.manifest, to_json(made.config))
        stored = StoredImage(place.host, place.path, published.manifest, image)
        attached = None
        if there:
            self._complete(stored, inventory)
        else:
            documents = self._bills(self._options.bills, stored, inventory) | {INVENTORY_TYPE: files}
            attached = self._publisher.attach(place, published.digest, documents)[INVENTORY_TYPE]
        self._publisher.move_tag(place, published.digest, self._options.tag, look=published.unchanged)
        self._read_back(stored)
        self._reader.remember(stored, inventory, made_of=looked.input_tag)
        for layer in built.layers:
            if not layer.shared:
                layer.path.unlink(missing_ok=True)
        return ImageOutcome(
            stored,
            inventory.nevras,
            base.digest,
            FOUND if there else built.method,
            built.changes if planned.action is Action.UPDATE else (),
            attached,
            published.bytes_pushed,
            published.bytes_mounted,
            _layers(stored, new=set() if there else {layer.digest for layer in built.layers}),
            built.stages,
            inventory.signers,
            inventory.unsigned,
            built.fallback,
        )

    def read_back_packages(self, outcome: ImageOutcome) -> frozenset[Nevra]:
        """What the database in the published layers of an image names, and nothing else will do as a proof.

        :raises ContentError: it names other packages than the run says that it published.
        """
        found = self._reader.packages_in_database(outcome.stored)
        if found != outcome.packages:
            missing, more = sorted(outcome.packages - found), sorted(found - outcome.packages)
            words = [f"lacks {missing[0]}"] * bool(missing) + [f"holds {more[0]}"] * bool(more)
            raise ContentError(
                f"the published {outcome.stored.reference} {' and '.join(words)}: its rpm database is not what the run says",
                next_step="look at the layer; if it is of this run, this is a defect of the tool",
            )
        return found

    # ---- parts ------------------------------------------------------------------------------------------------------------------------------

    def _start(self, context: Context, planned: PlannedImage) -> StoredImage:
        """What the image is made from: the parent's result in this run for a build, the reference (below its update layer) for an update."""
        if planned.action is Action.UPDATE:
            reference = self._decision.references[planned.name]
            assert reference is not None
            return reference.base
        if planned.parent is None:
            return self._base_of(self._decision.request.recipes[planned.name])
        if planned.parent not in self._decision.request.names:
            return self._parent_reference(planned)
        return of_kind(context.result_of(planned.parent), ImageOutcome).stored

    def _parent_reference(self, planned: PlannedImage) -> StoredImage:
        """The published parent, where the parent itself was left out of the run."""
        wanted, found = self._reference_of(str(planned.parent))
        if found is None:
            raise ContentError(f"its parent {wanted} is not published", image=planned.name, next_step="select the parent as well")
        return found.stored

    def _reference_of(self, name: str) -> tuple[ImageReference, ReferenceImage | None]:
        """Where the reference of an image is looked for that need not be part of the run, and what is there."""
        request = self._decision.request
        wanted = reference_names(request.profile, [name], request.reference_tag, request.artifacts)
        return wanted[name], collect(self._reader, wanted, request.recipes)[name]

    def _require_wanted(self, planned: PlannedImage, inventory: Inventory) -> None:
        """An image holds the packages under test themselves, and takes what its locks name, beside these and the packages of its base image."""
        self._same_builds.require(planned.name, inventory)
        if self._locks is None:
            return
        recipes = self._decision.request.recipes
        root = recipes[chain(planned.name, recipes)[-1]]
        below = self._adopted(root.name).base_inventory if root.adopted else self._reader.inventory(self._base_of(root))
        self._locks.require(planned.name, inventory.nevras - below.nevras - set(self._decision.plan.gated))

    def _adopted(self, name: str) -> ReferenceImage:
        """An adopted image as this run takes it, whether or not it is part of the run."""
        found = self._decision.references.get(name) or self._reference_of(name)[1]
        if found is None:
            raise ContentError("the registry has no reference image", image=name, next_step="publish it, or say where its maker does")
        return found

    def base_image(self) -> StoredImage:
        """The profile's base image, pinned.

        :raises ContentError: the profile pins none, or the registry does not hold it.
        """
        base = self._decision.request.profile.base
        if base.digest is None:
            raise ContentError(
                f"the base image {base.image} is not pinned by digest", next_step="pin it in the profile ('topcoat base' finds the digest)"
            )
        reference = ImageReference.parse(base.source).with_digest(base.digest)
        return self._read_base(reference, "pin another digest in the profile, and give the base a mirror ('topcoat base --mirror')")

    def _base_of(self, recipe: Recipe) -> StoredImage:
        """The base image of a root; where its own is named by a tag, the run keeps to the manifest that the tag showed first."""
        if recipe.own_base is None:
            return self.base_image()
        try:
            reference = ImageReference.parse(recipe.own_base)
        except UsageError as error:
            raise ContentError(
                f"its own base image cannot be looked up: {error.what}", image=recipe.name, next_step="write tcib_from as host/repository:tag"
            ) from error
        return self._read_base(reference, "correct tcib_from, or mirror the image")

    def _read_base(self, reference: ImageReference, next_step: str) -> StoredImage:
        with self._bases_lock:
            if str(reference) not in self._bases:
                found = self._reader.find(reference)
                if found is None:
                    raise ContentError(f"the base image {reference} is gone", next_step=next_step)
                self._bases[str(reference)] = found
            return self._bases[str(reference)]

    def _reference_place(self, name: str) -> ImageRepository:
        profile = self._decision.request.profile
        return ImageRepository(profile.reference_registry or profile.registry, profile.reference_repository_of(name))

    def _input_tag(self, planned: PlannedImage, base: StoredImage) -> str:
        if planned.action is Action.UPDATE:
            return input_tags.update_tag(planned, base.digest, self._decision.snapshot, self._options.update_way)
        return input_tags.build_tag(planned, base.digest, self._decision.snapshot)

    def _inventory_below(self, planned: PlannedImage, base: StoredImage) -> Inventory:
        """The inventory of what an image was made from."""
        reference = self._decision.references[planned.name] if planned.action is Action.UPDATE else None
        return reference.base_inventory if reference else self._reader.inventory(base)

    def _with_claim(self, planned: PlannedImage, built: BuiltImage, inventory: Inventory, base: StoredImage) -> Image:
        """The image with the digests of its inventory in its configuration; where nothing was made, the image that it was.

        A build on an updated parent inherits the label that speaks of the parent's update layer.
        """
        if not built.layers and built.inventory is None:
            return built.image
        files = {name: digest_of(content) for name, content in inventory.to_files().items()}
        inherited = (labels.UPDATE_BASE,) if planned.action is Action.BUILD else ()
        if built.sketch:
            sketch: Sketch | None = Sketch(digest_of(built.sketch), len(built.image.diff_ids))
        else:  # an update goes on layers that have one, as a rule
            sketch = base.claim.sketch if planned.action is Action.UPDATE else None
        return with_labels(built.image, {labels.INVENTORY: claims.claim(files, built.image.diff_ids, sketch)}, remove=inherited)

    def _read_back(self, stored: StoredImage) -> None:
        """The manifest under our tag, its digest computed from the bytes that come."""
        reference, digest = stored.place.tag(self._options.tag), stored.digest
        try:
            found: Digest | None = self._registries.client(reference.host).manifest(reference.repository, reference.target).digest
        except NotFoundError:
            found = None
        if found != digest:
            raise InfrastructureError(
                f"{reference} reads back as {found}, not {digest}", next_step="another run may write the same tag; use a unique one"
            )

    def _bills(self, names: Iterable[str], stored: StoredImage, inventory: Inventory) -> dict[str, dict[str, bytes]]:
        profile = self._decision.request.profile
        return bills.documents(names, stored, inventory, distro=profile.distro, release=profile.release)

    def _complete(self, stored: StoredImage, inventory: Inventory) -> None:
        """An earlier run may have been killed before all documents were attached, or have made other bills: the registry is asked what it has."""
        self._attach_if_missing(stored, inventory)
        if not self._options.bills:
            return
        there = {entry.artifact_type for entry in self._registries.client(stored.host).referrers(stored.repository, stored.digest)}
        missing = [name for name in self._options.bills if bills.artifact_type(name) not in there]
        self._publisher.attach(stored.place, stored.digest, self._bills(missing, stored, inventory))

    def _attach_if_missing(self, stored: StoredImage, inventory: Inventory) -> None:
        """A copied image keeps its inventory; where the source registry had none, the one we made goes with it."""
        if not self._reader.has_documents(stored):
            self._publisher.attach(stored.place, stored.digest, {INVENTORY_TYPE: inventory.to_files()})


def _layers(stored: StoredImage, new: set[Digest] | None = None) -> tuple[LayerSize, ...]:
    return tuple(LayerSize(layer.digest, layer.size, layer.digest in (new or set())) for layer in stored.image.layers)
