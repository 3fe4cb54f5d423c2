"""Random updates three ways: composed without the image, as a transaction on it, and by plain ``dnf``; no two results may differ.

Without a variable this is the short form, the same on every run. ``tox -e equality`` sets TOPCOAT_FUZZ to the number of updates; then the seed is a
new one each time, it is printed, and TOPCOAT_FUZZ_SEED repeats it. What differs is printed with its number: ``random_zoo.update(seed, number)``.
"""

import collections
import contextlib
import os
import random
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tests.functional.equality.random_zoo import LOG, Update, update
from tests.functional.equality.test_synthesis import FRESH, SynthesisCase, dated
from tests.functional.equality.test_updates import Beside
from tests.functional.equality.zoo import LITTER
from tests.functional.layers.others import TOOLS
from tests.functional.updater.world import Base, rpm
from topcoat.builder import Synthesiser, Updater
from topcoat.errors import ContentError, InfrastructureError, one_line
from topcoat.layers import BuiltImage
from topcoat.model import PlannedImage, Reason, Repository
from topcoat.solver.solver import UpdateSolver
from topcoat.synthesis import Refusal
from topcoat.transactions import Options, Transactions
from topcoat_demo.rpms import RpmSpec, make_repository, write_rpm
from topcoat_demo.signing import key
from topcoat_demo.trees import differences, tree

UPDATES = int(os.environ.get("TOPCOAT_FUZZ") or 0)
SEED = int(os.environ.get("TOPCOAT_FUZZ_SEED") or (random.SystemRandom().randrange(1 << 32) if UPDATES else 1))
SHORT = 6
AT_ONCE = 20
"""Updates that share repositories, and the processes that answer for them."""
ONE_IN = 4
"""So many updates are made beside plain dnf, too."""
PULLED_ONE_IN = 10
"""So many are unpacked by the tools of others, too."""
FAILED = {"onflict": "files conflict", " makes the ": "it makes an account", " into the group ": "it makes an account"}
"""Parts of the errors that a transaction may end with, and what they come to."""
KEY = key("random updates")
STAYS = RpmSpec("stays", "1", files=FRESH.files)


class Different(AssertionError):
    """Two ways made two results."""


class RandomUpdates(SynthesisCase):
    """Counts what came of each update; only a difference fails."""

    def test_no_two_ways_differ(self) -> None:
        counts: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        found: list[str] = []
        total = UPDATES or SHORT
        for first in range(0, total, AT_ONCE):
            self.batch(range(first, min(first + AT_ONCE, total)), counts, found)
        if UPDATES:
            print("\n".join(f"{count:4d} refused: {reason}" for reason, count in self.refused.most_common()), file=sys.stderr)
        print(f"seed {SEED}: {total} updates: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}", file=sys.stderr)
        self.assertEqual(found, [], f"seed {SEED}")
        self.assertGreater(counts["composed and equal"], 0)

    def batch(self, numbers: Sequence[int], counts: collections.Counter[str], found: list[str]) -> None:
        made: dict[int, tuple[Update, Base]] = {}
        for number in numbers:
            drawn = update(SEED, number)
            try:
                made[number] = drawn, self.base(drawn, number)
            except AssertionError:
                counts["no image: its own packages conflict"] += 1
        news = {spec.filename: spec for drawn, _ in made.values() for spec in drawn.new}
        gated = {spec.filename: spec for drawn, _ in made.values() for spec in drawn.gated}
        signed = {name for drawn, _ in made.values() for name in drawn.signed}
        repositories = (self.repository("new", news, signed), self.repository("gated", gated, signed, gated=True))
        snapshot = self.world.snapshot(*repositories)
        scratch = self.world.path("scratch")
        scratch.mkdir()
        with snapshot, Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions:
            ways = Ways(self, snapshot, transactions, scratch, repositories)
            for number, (drawn, base) in made.items():
                try:
                    plain = number % ONE_IN == 0 and not drawn.gated and not drawn.languages
                    what = ways.compare(base, plain=plain, pulled=number % PULLED_ONE_IN == 0)
                except Different as different:
                    what = "different"
                    found.append(f"update {number}: {different}")
                counts[what] += 1
                if ways.refused:
                    self.refused[_general(ways.refused, drawn)] += 1

    def repository(self, name: str, specs: Mapping[str, RpmSpec], signed: Collection[str], **options: object) -> Repository:
        """A repository of these packages, some of them signed."""
        folder = self.world.path(name)
        for file, spec in specs.items():
            write_rpm(spec, folder, signer=KEY if file in signed else None)
        return Repository(name, make_repository(folder).as_uri(), **options)  # type: ignore[arg-type]

    def base(self, drawn: Update, number: int) -> Base:
        root = self.world.root([*drawn.old, STAYS])
        if drawn.languages:
            (root / "etc/rpm").mkdir(parents=True, exist_ok=True)
            (root / "etc/rpm/macros.image-language-conf").write_text(f"%_install_langs {drawn.languages}\n")
        for edit in drawn.edits:
            path = root / edit.path
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.is_dir() or not path.parent.resolve().is_relative_to(root.resolve()):
                continue  # something else lies there
            if edit.how == "moved":
                if path.is_dir() and not path.is_symlink():
                    path.rename(path.with_name("elsewhere"))
                    path.symlink_to("elsewhere")
                continue
            if edit.how in ("removed", "link", "as new", "edited") and path.is_dir():
                continue
            if edit.how == "removed":
                path.unlink(missing_ok=True)
            elif edit.how == "owner":
                if path.is_file() and not path.is_symlink():
                    os.chown(path, 2, 3)
                    path.chmod(0o640)
            elif edit.how == "link":
                path.unlink(missing_ok=True)
                path.symlink_to("elsewhere")
            elif edit.how == "beside":
                path.with_name(f"{path.name}.rpmnew").write_text(edit.text)
            elif not path.is_symlink():
                path.write_text(edit.text)
        return self.world.publish_root(root, f"random-{number}")


class Ways:
    """The ways to update an image, over one pair of repositories."""

    def __init__(self, case: RandomUpdates, snapshot: object, transactions: Transactions, scratch: Path, repositories: Sequence[Repository]) -> None:
        self.case, self.world, self.repositories = case, case.world, repositories
        self.solver = UpdateSolver(snapshot, arch="x86_64")
        self.synthesiser = Synthesiser(snapshot, transactions, scratch)
        self.updater = Updater(self.world.store, transactions)
        self.refused = ""
        """Why the last update was not composed."""

    def compare(self, base: Base, *, plain: bool, pulled: bool) -> str:
        """What came of the update of one image, in some words.

        :param plain: compare the transaction with plain dnf; ``pulled``: compare what is unpacked here with what podman and buildah unpack.
        :raises Different: two ways made two results, or one of them none.
        """
        self.refused = ""
        try:
            changes = self.solver.changes(base.inventory)
        except ContentError:
            return "no plan"
        if not changes:
            return "nothing to do"
        request = self.solver.request(base.inventory)
        planned = PlannedImage(base.repository, Reason.RPM_UPGRADE, "", None, "", base.digest, changes, base.digest)
        done = composed = None
        failed = refused = ""
        try:
            done = self.updater.update(
                planned,
                base.image,
                base_digest=base.digest,
                client=self.world.client,
                repository=base.repository,
                request=request,
                log=self.world.path("log"),
            )
        except (ContentError, InfrastructureError) as error:
            failed = str(error)
        try:
            composed = self.synthesiser.update(planned, base.image, self.case.known(base), base_digest=base.digest, request=request)
        except Refusal as error:
            refused = error.reason
        except ContentError as error:
            refused = str(error)
        if done is None:
            if composed is not None:
                raise Different(f"composed, and the transaction failed: {failed}")
            what = next((what for part, what in FAILED.items() if part in failed), "")
            if not what:
                raise Different(f"the transaction failed: {failed}")
            return f"failed: {what}"
        self.refused = refused
        if refused and (not refused.isprintable() or len(refused) > 500):
            raise Different(f"refused in more than a line: {refused!r}")
        with self.image(base, done) as (root, facts):
            expected, own = dated(root), facts
            if plain:
                self.beside(base, root, facts)
            if pulled:
                self.pulled(base, done, root)
            if composed is None:
                return "refused, transaction equal to plain dnf" if plain else "refused"
        with self.image(base, composed) as (root, facts):
            if pulled:
                self.pulled(base, composed, root)
            differs = differences(expected, dated(root))
            if differs or own != facts or done.inventory != composed.inventory:
                raise Different(f"composed differs from the transaction: {differs or (own, facts)}")
        return "composed and equal"

    def pulled(self, base: Base, built: BuiltImage, root: Path) -> None:
        """The same image as others unpack it."""
        digest = self.world.publish(built, base.repository) if built.layers else base.digest
        for tool in TOOLS:
            with self.case.unpacked(tool, base.repository, digest) as other:
                if differs := differences(dated(root), dated(other)):
                    raise Different(f"{tool} unpacks something else: {differs}")

    @contextlib.contextmanager
    def image(self, base: Base, built: BuiltImage) -> Iterator[tuple[Path, list[str]]]:
        """The files of a result, and what rpm says of them."""
        name = base.repository
        digest = self.world.publish(built, name) if built.layers else base.digest
        _, image = self.world.client.image(name, digest)
        with self.world.store.mount(self.world.store.ensure(self.world.client, name, image)) as space:
            yield space.root, self.facts(space.root)

    def facts(self, root: Path) -> list[str]:
        headers = rpm(root, "-qa", "--qf", "%{nevra} %{sha256header} %{sigmd5} [%{filestates},]\n")
        return [*sorted(headers.splitlines()), *sorted(rpm(root, "-Va", check=False).splitlines())]

    def beside(self, base: Base, updated: Path, facts: list[str]) -> None:
        """Plain ``dnf -y update`` in the image, beside the transaction's result."""
        lower = self.world.store.ensure(self.world.client, base.repository, base.image)
        directory = Path(self.repositories[0].baseurl.removeprefix("file://"))
        with self.world.store.mount(lower) as space:
            Beside.dnf(self.case, space.root, directory, "update")  # type: ignore[arg-type]
            hidden = (*LITTER, str(self.world.directory).lstrip("/"))
            differs = differences(undated(tree(space.root, without=hidden)), undated(tree(updated, without=hidden)))
            plainly = self.facts(space.root)
        if differs or plainly != facts:
            raise Different(f"the transaction differs from plain dnf: {differs or (plainly, facts)}")


def _general(reason: str, drawn: Update) -> str:
    """A reason without the names of one update."""
    specs = (*drawn.old, *drawn.new, *drawn.gated)
    names = {one_line(item.path): "/..." for spec in specs for item in spec.files} | {spec.name: "PACKAGE" for spec in specs}
    for name in sorted(names, key=len, reverse=True):
        reason = reason.replace(name, names[name])
    return re.sub(r"/\.\.\.[^ ]+|(?<= )/(?!\.\.\.)[^ ]+", "/...", reason)


def undated(entries: dict[str, tuple]) -> dict[str, tuple]:
    """Without the time of what scriptlets wrote."""
    return {path: (*facts[:3], 0, *facts[4:]) if path == LOG else facts for path, facts in entries.items()}
