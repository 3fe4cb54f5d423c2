"""What dnf would change in an image, from the image's inventory and frozen repositories alone.

This module must never touch an image and never skip silently what it cannot satisfy: that is an error which names the packages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import solv

from topcoat.errors import ContentError, UsageError
from topcoat.model import Nevra, PackageChange
from topcoat.rpm import repositories, selection, solvfile
from topcoat.rpm.difference import pair
from topcoat.rpm.evr import Order
from topcoat.rpm.inventory import Inventory
from topcoat.rpm.repositories import Snapshot

# Packages in one image: sizes the one map below that libsolv's bindings do not grow.
_MOST_INSTALLED = 16384
_SOURCE_ARCHES = ("src", "nosrc")
# Default of installonlypkgs in dnf.conf(5): several builds of these stand side by side.
_INSTALL_ONLY = ("kernel", "kernel-PAE", "installonlypkg(kernel)", "installonlypkg(kernel-module)", "installonlypkg(vm)", "multiversion(kernel)")


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
    """Answers for many inventories over one set of repositories: they are loaded once, the installed set is swapped. One thread at a time.

    :param arch: RPM architecture of the images (``x86_64``).
    :param modules: module streams that are enabled beside the default ones, ``name:stream``.
    """

    def __init__(self, snapshot: Snapshot, *, arch: str, modules: Iterable[str] = ()) -> None:
        self._snapshot = snapshot
        self._pool = solvfile.new_pool(arch)
        self._filelists = solvfile.Filelists(self._pool)
        self._order = Order()
        self._answers: dict[str, tuple[PackageChange, ...]] = {}
        self._repository_of: dict[int, repositories.FrozenRepository] = {}
        solvables: list[solv.XSolvable] = []
        for frozen in snapshot.repositories:
            repo = repositories.load(frozen, self._pool, self._filelists)
            repo.priority = -frozen.repository.priority
            for solvable in repo.solvables_iter():
                self._repository_of[solvable.id] = frozen
                if solvable.arch not in _SOURCE_ARCHES and self._pool.isknownarch(solvable.archid):
                    solvables.append(solvable)
        self._considered = selection.considered(solvables, self._repository_of, snapshot, modules=tuple(modules))
        solvfile.reserve_considered(self._pool, _MOST_INSTALLED)
        self._index()

    def _index(self) -> None:
        """Sort the considered packages by what the requests ask for."""
        self._by_name: dict[str, list[solv.XSolvable]] = defaultdict(list)
        self._obsoleters: dict[str, list[tuple[solv.XSolvable, solv.Dep]]] = defaultdict(list)
        self._nevra: dict[int, Nevra] = {}
        self._gated: dict[str, dict[str, solv.XSolvable]] = defaultdict(dict)
        builds: dict[tuple[str, str], list[solv.XSolvable]] = defaultdict(list)
        for solvable in self._considered:
            nevra = solvfile.nevra_of(solvable)
            self._nevra[solvable.id] = nevra
            self._by_name[nevra.name].append(solvable)
            if self._repository_of[solvable.id].repository.gated:
                builds[nevra.name, nevra.arch].append(solvable)
            for dependency in solvable.lookup_deparray(solv.SOLVABLE_OBSOLETES):
                name, _, _ = str(dependency).partition(" ")
                self._obsoleters[name].append((solvable, dependency))
        for (name, arch), candidates in builds.items():
            newest = self._order.newest(self._nevra[candidate.id] for candidate in candidates)
            self._gated[name][arch] = next(candidate for candidate in candidates if self._nevra[candidate.id] == newest)

    def request(self, inventory: Inventory) -> UpdateRequest:
        """What has to be asked for this inventory; empty (false) when nothing in the repositories concerns it."""
        upgrade: set[str] = set()
        install: set[Nevra] = set()
        reinstall: set[Nevra] = set()
        installed_by_name: dict[str, list] = defaultdict(list)
        for package in inventory.packages:
            installed_by_name[package.nevra.name].append(package)
        for name, packages in installed_by_name.items():
            if name in self._gated:
                self._request_gated(name, packages, install, reinstall)
            elif name in self._by_name and any(self._can_upgrade(package.nevra) for package in packages):
                upgrade.add(name)
            if name in self._obsoleters and any(self._can_obsolete(package.nevra) for package in packages):
                upgrade.add(name)
        return UpdateRequest(tuple(sorted(upgrade)), tuple(sorted(install)), tuple(sorted(reinstall)))

    def _request_gated(self, name: str, packages: list, install: set[Nevra], reinstall: set[Nevra]) -> None:
        gated = self._gated[name]
        for package in packages:
            target = gated.get(package.nevra.arch)
            if target is None and not any(other.nevra.arch in gated for other in packages):
                # The architecture changed (noarch to x86_64 or back).
                target = gated.get("noarch") or next(iter(gated.values()))
            if target is None:
                continue
            nevra = self._nevra[target.id]
            if nevra != package.nevra:
                install.add(nevra)
            elif package.build_time and target.lookup_num(solv.SOLVABLE_BUILDTIME) not in (0, package.build_time):
                reinstall.add(nevra)

    def _can_upgrade(self, installed: Nevra) -> bool:
        """Whether a repository that is a reason for updates offers a newer build, not hidden by one of a better priority."""
        newer = [
            self._repository_of[candidate.id].repository
            for candidate in self._by_name[installed.name]
            if _arch_fits(self._nevra[candidate.id].arch, installed.arch)
            and self._order.compare(self._nevra[candidate.id].full_evr, installed.full_evr) > 0
        ]
        best = min((repository.priority for repository in newer), default=None)
        return any(repository.updates and repository.priority == best for repository in newer)

    def _can_obsolete(self, installed: Nevra) -> bool:
        for solvable, dependency in self._obsoleters[installed.name]:
            repository = self._repository_of[solvable.id].repository
            if (
                (repository.updates or repository.gated)
                and self._nevra[solvable.id].name != installed.name
                and self._meets(installed, str(dependency))
            ):
                return True
        return False

    def _meets(self, installed: Nevra, dependency: str) -> bool:
        """Whether a package meets ``name [operator evr]``; a part that the dependency leaves out (release, epoch) is not compared."""
        words = dependency.split()
        if len(words) != 3:
            return len(words) == 1
        evr = installed.full_evr if "-" in words[2] else f"{installed.epoch}:{installed.version}"
        order = self._order.compare(evr, words[2])
        return (order < 0 and "<" in words[1]) or (order > 0 and ">" in words[1]) or (order == 0 and "=" in words[1])

    def changes(self, inventory: Inventory) -> tuple[PackageChange, ...]:
        """What an update layer on an image with this inventory changes, sorted; empty when nothing.

        :raises ContentError: the request cannot be satisfied; the message names packages, requirements and repositories.
        """
        if inventory.key not in self._answers:
            request = self.request(inventory)
            self._answers[inventory.key] = self._solve(inventory, request) if request else ()
        return self._answers[inventory.key]

    def resolve_install(self, names: Iterable[str], inventory: Inventory | None = None) -> tuple[PackageChange, ...]:
        """What installing packages by name changes in an image with this inventory (None: an empty root).

        :raises ContentError: a name does not exist in the repositories, or its requirements cannot be satisfied.
        """
        jobs = []
        self._load_installed(inventory)
        try:
            for name in sorted(set(names)):
                if not self._by_name.get(name) and not (inventory and any(package.nevra.name == name for package in inventory.packages)):
                    raise ContentError(
                        f"no repository has a package {name!r}",
                        next_step=f"correct the name, or add its repository to: {', '.join(frozen.id for frozen in self._snapshot.repositories)}",
                    )
                candidates = [*self._by_name.get(name, ()), *(s for s in self._pool.installed.solvables_iter() if s.name == name)]
                jobs.append(self._job(solv.Job.SOLVER_INSTALL, candidates))
            return self._run(jobs, downgrade=True)
        finally:
            self._unload_installed()

    def _solve(self, inventory: Inventory, request: UpdateRequest) -> tuple[PackageChange, ...]:
        self._load_installed(inventory)
        try:
            installed: dict[str, list[solv.XSolvable]] = defaultdict(list)
            for solvable in self._pool.installed.solvables_iter():
                installed[solvable.name].append(solvable)
            jobs = [self._upgrade_job(name, installed) for name in request.upgrade]
            for nevra in (*request.install, *request.reinstall):
                jobs.append(self._job(solv.Job.SOLVER_INSTALL, [self._gated[nevra.name][nevra.arch]]))
            return self._run(jobs, downgrade=bool(request.install or request.reinstall))
        finally:
            self._unload_installed()

    def _upgrade_job(self, name: str, installed: dict[str, list[solv.XSolvable]]) -> solv.Job:
        """The job that dnf's ``Base.upgrade(name)`` makes: every build of the name, what obsoletes it, and the installed one."""
        candidates = list(self._by_name.get(name, ()))
        newer = [
            self._nevra[candidate.id]
            for candidate in candidates
            if any(self._order.compare(self._nevra[candidate.id].full_evr, solvfile.nevra_of(own).full_evr) > 0 for own in installed[name])
        ]
        targets = [*map(solvfile.nevra_of, installed[name]), *newer]
        for solvable, dependency in self._obsoleters.get(name, ()):
            if any(self._meets(target, str(dependency)) for target in targets):
                candidates.append(solvable)
        candidates += [own for other in {candidate.name for candidate in candidates} | {name} for own in _newest(installed[other])]
        return self._job(solv.Job.SOLVER_UPDATE | solv.Job.SOLVER_TARGETED, candidates)

    def _job(self, action: int, solvables: Iterable[solv.XSolvable]) -> solv.Job:
        how = action | solv.Job.SOLVER_SOLVABLE_ONE_OF | solv.Job.SOLVER_SETARCH | solv.Job.SOLVER_SETEVR | solv.Job.SOLVER_FORCEBEST
        return self._pool.Job(how, self._pool.towhatprovides(sorted({solvable.id for solvable in solvables})))

    def _load_installed(self, inventory: Inventory | None) -> None:
        if inventory is not None and len(inventory.packages) > _MOST_INSTALLED:
            raise ContentError(
                f"the inventory names {len(inventory.packages)} packages, this program takes {_MOST_INSTALLED}", next_step="look at the image"
            )
        repo = self._pool.add_repo("@System")
        if inventory is not None and not solvfile.add_installed(repo, inventory.solv):
            repo.free(True)
            raise ContentError("the inventory's libsolv file is damaged", next_step="remove it; it is made again from the image's layers")
        self._pool.installed = repo
        ids = [solvable.id for solvable in self._considered]
        ids += [solvable.id for solvable in repo.solvables_iter()]
        self._pool.set_considered_list(ids)
        self._pool.addfileprovides()
        self._filelists.check()
        self._pool.createwhatprovides()

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
        jobs = [*jobs, *(self._pool.Job(several, self._pool.str2id(name)) for name in _INSTALL_ONLY)]
        problems = solver.solve(jobs)
        if problems:
            raise self._unsatisfiable(problems)
        return self._changes_of(solver.transaction())

    def _changes_of(self, transaction: solv.Transaction) -> tuple[PackageChange, ...]:
        removed, added = [], []
        origin: dict[Nevra, str] = {}
        for solvable in transaction.steps():
            nevra = solvfile.nevra_of(solvable)
            if solvable.isinstalled():
                removed.append(nevra)
            else:
                added.append(nevra)
                origin[nevra] = self._repository_of[solvable.id].id
        return pair(removed, added, origin)

    def _unsatisfiable(self, problems: list[solv.Problem]) -> ContentError:
        lines: list[str] = []
        for problem in problems:
            for rule in problem.findallproblemrules():
                for info in rule.allinfos():
                    text = info.problemstr()
                    repos = sorted({self._origin(package) for package in (info.solvable, info.othersolvable) if package})
                    line = f"{text} [{', '.join(repos)}]" if repos else text
                    if line not in lines:
                        lines.append(line)
        return ContentError(
            "the update cannot be satisfied: " + "; ".join(lines),
            next_step="fix the requirement in the package under test, or add the repository that provides it",
        )

    def _origin(self, solvable: solv.XSolvable) -> str:
        frozen = self._repository_of.get(solvable.id)
        return f"{solvable.name} from {frozen.id}" if frozen and not solvable.isinstalled() else f"{solvable.name} installed"


def _arch_fits(new: str, installed: str) -> bool:
    """Whether a package of one architecture can upgrade one of another: the same, or one of both is noarch."""
    return new == installed or "noarch" in (new, installed)


def _newest(installed: list[solv.XSolvable]) -> list[solv.XSolvable]:
    """The newest of the installed builds of one name and each architecture."""
    best: dict[str, solv.XSolvable] = {}
    for solvable in installed:
        known = best.get(solvable.arch)
        if known is None or solvable.evrcmp(known) > 0:
            best[solvable.arch] = solvable
    return list(best.values())


def check_arch(arch: str) -> str:
    """Return the architecture when libsolv knows it, else raise UsageError."""
    pool = solvfile.new_pool(arch)
    if not pool.isknownarch(pool.str2id(arch)):
        raise UsageError(f"unknown RPM architecture {arch!r}", next_step="write it as RPM does: x86_64, aarch64 ...")
    return arch
