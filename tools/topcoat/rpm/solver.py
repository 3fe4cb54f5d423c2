"""What dnf would change in an image, from the image's inventory and frozen repositories alone.

This module must never touch an image and never skip silently what it cannot satisfy: that is an error which names the packages.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import solv

from topcoat.errors import ContentError, UsageError
from topcoat.model import Nevra, PackageChange
from topcoat.rpm import problems, solvfile
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import InstalledPackage, Inventory
from topcoat.rpm.offer import Offer, meets
from topcoat.rpm.relevance import Relevance
from topcoat.rpm.repositories import Snapshot

# Default of installonlypkgs in dnf.conf(5): several builds of these stand side by side.
_INSTALL_ONLY = ("kernel", "kernel-PAE", "installonlypkg(kernel)", "installonlypkg(kernel-module)", "installonlypkg(vm)", "multiversion(kernel)")

# Packages in one image: the size of the one map that libsolv's bindings make once and never grow.
_MOST_INSTALLED = 16384
# Public keys are in the database as packages, too, and not in the inventory's list.
_ROOM_FOR_KEYS = 100

_ARCHES = ("x86_64", "x86_64_v2", "x86_64_v3", "aarch64", "ppc64le", "s390x", "riscv64", "armv7hl", "i686")


@dataclass(frozen=True)
class UpdateRequest:
    """What is asked of the solver for one image, in terms that dnf's API understands as well.

    ``upgrade``: names for ``Base.upgrade(name)``. ``install``: gated packages for ``Goal.install`` (up or down to exactly this build).
    ``reinstall``: gated packages that are installed at the same NEVRA, but as another build.
    Packages of other repositories that have the name of a gated package are to be excluded first; weak dependencies are off, best is on.
    """

    upgrade: tuple[str, ...] = ()
    install: tuple[Nevra, ...] = ()
    reinstall: tuple[Nevra, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.upgrade or self.install or self.reinstall)


class UpdateSolver:
    """Answers for many inventories over one set of repositories: they are loaded once, the installed set is swapped. Safe for several threads,
    which wait for each other.

    :param arch: RPM architecture of the images (``x86_64``).
    :param modules: module streams that are enabled beside the default ones, ``name:stream``.
    :param many: from how many available packages on only those are indexed that can matter to an image; the answers are the same.
    """

    def __init__(self, snapshot: Snapshot, *, arch: str, modules: Iterable[str] = (), many: int = 3000) -> None:
        self._lock = threading.RLock()
        self._pool = solvfile.new_pool(check_arch(arch))
        self._filelists = solvfile.Filelists(self._pool)
        self._offer = Offer(snapshot, self._pool, self._filelists, modules=tuple(modules))
        # Without this the second, larger inventory writes past libsolv's map and the process dies: see reserve_considered.
        solvfile.reserve_considered(self._pool, _MOST_INSTALLED + _ROOM_FOR_KEYS)
        self._snapshot = snapshot
        self._arch = arch
        self._many = many
        self._relevance: Relevance | None = None
        self._install_only = [self._pool.str2id(name) for name in _INSTALL_ONLY]
        self._repositories = [frozen.id for frozen in snapshot.repositories]
        self._answers: dict[str, tuple[PackageChange, ...]] = {}
        self._wants_upgrade: dict[Nevra, bool] = {}
        self._candidates: dict[tuple[str, tuple[Nevra, ...]], list[int]] = {}

    def request(self, inventory: Inventory) -> UpdateRequest:
        """What has to be asked for this inventory; empty (false) when nothing in the repositories concerns it."""
        with self._lock:
            return self._request(inventory)

    def _request(self, inventory: Inventory) -> UpdateRequest:
        upgrade: set[str] = set()
        under_test: dict[str, list[InstalledPackage]] = defaultdict(list)
        gated = self._offer.gated
        known = self._wants_upgrade
        for package in inventory.packages:
            nevra = package.nevra
            wanted = known.get(nevra)
            if wanted is None:
                wanted = known[nevra] = self._can_upgrade(nevra) or self._can_obsolete(nevra)
            if wanted:
                upgrade.add(nevra.name)
            if nevra.name in gated:
                under_test[nevra.name].append(package)
        install: set[Nevra] = set()
        reinstall: set[Nevra] = set()
        for name, packages in under_test.items():
            self._request_gated(gated[name], packages, install, reinstall)
        return UpdateRequest(tuple(sorted(upgrade)), tuple(sorted(install)), tuple(sorted(reinstall)))

    def _request_gated(self, builds: dict[str, int], packages: list[InstalledPackage], install: set[Nevra], reinstall: set[Nevra]) -> None:
        for package in packages:
            target = builds.get(package.nevra.arch)
            if target is None and not any(other.nevra.arch in builds for other in packages):
                # The architecture changed (noarch to x86_64 or back).
                target = builds.get("noarch") or builds[min(builds)]
            if target is None:
                continue
            nevra = self._offer.nevra(target)
            if nevra != package.nevra:
                install.add(nevra)
            elif package.build_time and self._offer.build_time(target) not in (0, package.build_time):
                reinstall.add(nevra)

    def _can_upgrade(self, installed: Nevra) -> bool:
        """Whether a repository that is a reason for updates offers a newer build, not hidden by one of a better priority."""
        if installed.name in self._offer.gated:
            return False
        newer = [self._offer.repository(number) for number in self._offer.newer(installed)]
        best = min((repository.priority for repository in newer), default=None)
        return any(repository.updates and repository.priority == best for repository in newer)

    def _can_obsolete(self, installed: Nevra) -> bool:
        offered = (self._offer.repository(number) for number in self._offer.obsoleting([installed]))
        return any(repository.updates or repository.gated for repository in offered)

    def changes(self, inventory: Inventory) -> tuple[PackageChange, ...]:
        """What an update layer on an image with this inventory changes, sorted; empty when nothing.

        :raises ContentError: the request cannot be satisfied; the message names packages, requirements and repositories.
        """
        with self._lock:
            if inventory.key not in self._answers:
                request = self._request(inventory)
                self._answers[inventory.key] = self._solve(inventory, request) if request else ()
            return self._answers[inventory.key]

    def resolve_install(self, names: Iterable[str], inventory: Inventory | None = None) -> tuple[PackageChange, ...]:
        """What installing packages by name changes in an image with this inventory (None: an empty root).

        :raises ContentError: a name does not exist in the repositories, or its requirements cannot be satisfied.
        """
        with self._lock:
            installed = self._load_installed(inventory, everything=True)
            try:
                jobs = [self._install_job(name, installed) for name in sorted(set(names))]
                return self._run(jobs, downgrade=True)
            finally:
                self._unload_installed()

    def _install_job(self, name: str, installed: dict[str, list[solv.XSolvable]]) -> solv.Job:
        """The job that dnf's ``Base.install(name)`` makes: all builds of the name, else all that provide it; and what obsoletes one of them."""
        own = {solvable.id: solvable for solvables in installed.values() for solvable in solvables}
        candidates = {*self._offer.by_name.get(name, ()), *(solvable.id for solvable in installed.get(name, ()))}
        if not candidates:
            candidates = {solvable.id for solvable in self._pool.whatprovides(self._pool.str2id(name))}
        if not candidates:
            raise ContentError(
                f"no repository has a package {name!r}", next_step=f"correct the name, or add its repository to: {', '.join(self._repositories)}"
            )
        targets = [solvfile.nevra_of(own[number]) if number in own else self._offer.nevra(number) for number in candidates]
        candidates.update(self._offer.obsoleting(targets))
        for number, solvable in own.items():
            texts = [str(dependency) for dependency in solvable.lookup_deparray(solv.SOLVABLE_OBSOLETES)]
            if any(meets(self._offer.order, target, text) for target in targets for text in texts if text.partition(" ")[0] == target.name):
                candidates.add(number)
        return self._job(solv.Job.SOLVER_INSTALL, candidates)

    def _solve(self, inventory: Inventory, request: UpdateRequest) -> tuple[PackageChange, ...]:
        installed = self._load_installed(inventory)
        try:
            jobs = [self._upgrade_job(name, installed) for name in request.upgrade]
            for nevra in (*request.install, *request.reinstall):
                jobs.append(self._job(solv.Job.SOLVER_INSTALL, [self._offer.gated[nevra.name][nevra.arch]]))
            return self._run(jobs, downgrade=bool(request.install or request.reinstall))
        finally:
            self._unload_installed()

    def _upgrade_job(self, name: str, installed: dict[str, list[solv.XSolvable]]) -> solv.Job:
        """The job that dnf's ``Base.upgrade(name)`` makes: every build of the name, what obsoletes it, and the newest installed builds."""
        own = tuple(solvfile.nevra_of(solvable) for solvable in installed[name])
        candidates = self._candidates.get((name, own))
        if candidates is None:
            newer = {number for nevra in own for number in self._offer.newer(nevra)}
            obsoleted = [*own, *(self._offer.nevra(number) for number in newer)]
            candidates = self._candidates[name, own] = [*self._offer.by_name.get(name, ()), *self._offer.obsoleting(obsoleted)]
        names = {name, *(self._offer.nevra(number).name for number in candidates)}
        return self._job(
            solv.Job.SOLVER_UPDATE | solv.Job.SOLVER_TARGETED,
            [*candidates, *(solvable.id for other in names for solvable in _newest(installed.get(other, ())))],
        )

    def _job(self, action: int, numbers: Iterable[int]) -> solv.Job:
        how = action | solv.Job.SOLVER_SOLVABLE_ONE_OF | solv.Job.SOLVER_SETARCH | solv.Job.SOLVER_SETEVR | solv.Job.SOLVER_FORCEBEST
        return self._pool.Job(how, self._pool.towhatprovides(sorted(set(numbers))))

    def _load_installed(self, inventory: Inventory | None, *, everything: bool = False) -> dict[str, list[solv.XSolvable]]:
        if inventory is not None and len(inventory.packages) > _MOST_INSTALLED:
            raise ContentError(
                f"the inventory names {len(inventory.packages)} packages, this program takes {_MOST_INSTALLED}", next_step="look at the image"
            )
        repo = self._pool.add_repo("@System")
        if inventory is not None and not solvfile.add_installed(repo, inventory.solv):
            repo.free(True)
            raise ContentError("the inventory's libsolv file is damaged", next_step="remove it; it is made again from the image's layers")
        self._pool.installed = repo
        by_name: dict[str, list[solv.XSolvable]] = defaultdict(list)
        own = list(repo.solvables_iter())
        for solvable in own:
            by_name[solvable.name].append(solvable)
        self._pool.set_considered_list([*(self._offer.ids if everything else self._relevant(own)), *(solvable.id for solvable in own)])
        self._pool.addfileprovides()
        self._filelists.check()
        self._pool.createwhatprovides()
        return by_name

    def _relevant(self, own: list[solv.XSolvable]) -> Iterable[int]:
        """The available packages to index for a request about what is installed: all, unless they are many."""
        if len(self._offer.ids) < self._many:
            return self._offer.ids
        if self._relevance is None:
            self._relevance = Relevance(self._offer, self._snapshot, self._arch)
        return self._relevance.of(own)

    def _unload_installed(self) -> None:
        repo = self._pool.installed
        self._pool.installed = None
        repo.free(True)

    def _run(self, jobs: list[solv.Job], *, downgrade: bool) -> tuple[PackageChange, ...]:
        solver = self._pool.Solver()
        # The flags that libdnf sets: vendors may change, an orphan stays, best never changes the architecture, a split package is followed.
        for flag in (
            solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
            solv.Solver.SOLVER_FLAG_DUP_ALLOW_VENDORCHANGE,
            solv.Solver.SOLVER_FLAG_KEEP_ORPHANS,
            solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
            solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
            solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED,
        ):
            solver.set_flag(flag, 1)
        if downgrade:
            solver.set_flag(solv.Solver.SOLVER_FLAG_ALLOW_DOWNGRADE, 1)
        several = solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE_PROVIDES
        found = solver.solve([*jobs, *(self._pool.Job(several, number) for number in self._install_only)])
        if found:
            raise ContentError(
                f"the packages cannot be satisfied: {problems.describe(found, self._offer)}",
                next_step="correct the requirement in the package under test, or add the repository that provides it",
            )
        return self._changes_of(solver.transaction())

    def _changes_of(self, transaction: solv.Transaction) -> tuple[PackageChange, ...]:
        removed, added = [], []
        origin: dict[Nevra, str] = {}
        for solvable in transaction.steps():
            if solvable.isinstalled():
                removed.append(solvfile.nevra_of(solvable))
            else:
                nevra = self._offer.nevra(solvable.id)
                added.append(nevra)
                origin[nevra] = self._offer.repository(solvable.id).id
        return pair(removed, added, origin)


def _newest(installed: Iterable[solv.XSolvable]) -> list[solv.XSolvable]:
    """The newest of the installed builds of one name and each architecture."""
    best: dict[str, solv.XSolvable] = {}
    for solvable in installed:
        known = best.get(solvable.arch)
        if known is None or solvable.evrcmp(known) > 0:
            best[solvable.arch] = solvable
    return list(best.values())


def check_arch(arch: str) -> str:
    """Return the architecture when it is one that images are made for, else raise UsageError: libsolv would take any word."""
    if arch not in _ARCHES:
        raise UsageError(f"unknown RPM architecture {arch!r}", next_step=f"write one of {', '.join(_ARCHES)}")
    return arch
