"""One question to libsolv about one image, with the jobs and flags that dnf would give it, and dnf's two rules on its answer: the limit of packages
that stand side by side, and packages that nothing may remove.

This module must never keep anything of an image in the pool once it has answered.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType

import solv

from topcoat.errors import ContentError
from topcoat.model import Nevra, PackageChange
from topcoat.rpm import solvfile
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import Inventory
from topcoat.rpm.settings import DEFAULT, Settings
from topcoat.solver import problems
from topcoat.solver.available import Offer, meets

MOST_INSTALLED = 16384
"""Packages in one image: the size of the one map that libsolv's bindings make once and never grow."""


class Solving:
    """The pool with one image's packages in it; a context manager.

    :param inventory: None: an empty root.
    :param relevant: which available packages to index, asked with the installed ones.
    :raises ContentError: the inventory cannot be read.
    """

    def __init__(
        self,
        offer: Offer,
        filelists: solvfile.Filelists,
        inventory: Inventory | None,
        relevant: Callable[[list[solv.XSolvable]], Iterable[int]],
    ) -> None:
        self._offer = offer
        self._pool = offer.pool
        self._settings: Settings = inventory.settings if inventory is not None else DEFAULT
        if inventory is not None and len(inventory.packages) > MOST_INSTALLED:
            raise ContentError(
                f"the inventory names {len(inventory.packages)} packages, this program takes {MOST_INSTALLED}", next_step="look at the image"
            )
        self._repo = self._pool.add_repo("@System")
        if inventory is not None and not solvfile.add_installed(self._repo, inventory.solv):
            self._repo.free(True)
            raise ContentError("the inventory's libsolv file is damaged", next_step="remove it; it is made again from the image's layers")
        self._pool.installed = self._repo
        self._own = list(self._repo.solvables_iter())
        self._by_name: dict[str, list[solv.XSolvable]] = defaultdict(list)
        for solvable in self._own:
            self._by_name[solvable.name].append(solvable)
        try:
            self._pool.set_considered_list([*relevant(self._own), *(solvable.id for solvable in self._own)])
            self._pool.addfileprovides()
            filelists.check()
            self._pool.createwhatprovides()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the image's packages out of the pool."""
        self._pool.installed = None
        self._repo.free(True)

    def __enter__(self) -> Solving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def install_name(self, name: str) -> solv.Job:
        """The job that dnf's ``Base.install(name)`` makes: all builds of the name, else all that provide it; and what obsoletes one of them.

        :raises ContentError: no repository has it.
        """
        own = {solvable.id: solvable for solvable in self._own}
        candidates = {*self._offer.by_name.get(name, ()), *(solvable.id for solvable in self._by_name.get(name, ()))}
        if not candidates:
            candidates = {solvable.id for solvable in self._pool.whatprovides(self._pool.str2id(name))}
        if not candidates:
            known = ", ".join(repository.id for repository in self._offer.stock.repositories)
            raise ContentError(f"no repository has a package {name!r}", next_step=f"correct the name, or add its repository to: {known}")
        if self._settings.obsoletes:
            targets = [solvfile.nevra_of(own[number]) if number in own else self._offer.nevra(number) for number in candidates]
            candidates.update(self._offer.obsoleting(targets))
            for number, solvable in own.items():
                texts = [str(dependency) for dependency in solvable.lookup_deparray(solv.SOLVABLE_OBSOLETES)]
                if any(meets(self._offer.order, target, text) for target in targets for text in texts if text.partition(" ")[0] == target.name):
                    candidates.add(number)
        return self._job(solv.Job.SOLVER_INSTALL, candidates)

    def install(self, number: int) -> solv.Job:
        """The job of exactly this available package."""
        return self._job(solv.Job.SOLVER_INSTALL, [number])

    def upgrade(self, name: str, known: dict[tuple[str, tuple[Nevra, ...]], list[int]]) -> solv.Job:
        """The job that dnf's ``Base.upgrade(name)`` makes: every build of the name, what obsoletes it, and the newest installed builds.

        :param known: candidates of before, by name and installed builds.
        """
        own = tuple(solvfile.nevra_of(solvable) for solvable in self._by_name[name])
        candidates = known.get((name, own))
        if candidates is None:
            candidates = list(self._offer.by_name.get(name, ()))
            if self._settings.obsoletes:
                newer = {number for nevra in own for number in self._offer.newer(nevra)}
                candidates += self._offer.obsoleting([*own, *(self._offer.nevra(number) for number in newer)])
            known[name, own] = candidates
        names = {name, *(self._offer.nevra(number).name for number in candidates)}
        newest = [solvable.id for other in names for solvable in _newest(self._by_name.get(other, ()))]
        return self._job(solv.Job.SOLVER_UPDATE | solv.Job.SOLVER_TARGETED, [*candidates, *newest])

    def _job(self, action: int, numbers: Iterable[int]) -> solv.Job:
        how = action | solv.Job.SOLVER_SOLVABLE_ONE_OF | solv.Job.SOLVER_SETARCH | solv.Job.SOLVER_SETEVR | solv.Job.SOLVER_FORCEBEST
        return self._pool.Job(how, self._pool.towhatprovides(sorted(set(numbers))))

    def answer(self, jobs: list[solv.Job], *, downgrade: bool) -> tuple[PackageChange, ...]:
        """What the jobs change.

        :raises ContentError: they cannot be satisfied, or a protected package would go.
        """
        several = solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE_PROVIDES
        side_by_side = [self._pool.str2id(name) for name in self._settings.install_only]
        jobs = [*jobs, *(self._pool.Job(several, number) for number in side_by_side)]
        solver = self._solver(downgrade=downgrade)
        self._solve(solver, jobs)
        limiting = self._beyond_limit(solver.transaction(), side_by_side)
        if limiting:
            # What depends on a kernel that has to go may go with it.
            protected = set(self._settings.protected)
            free = [solvable.id for solvable in self._own if solvable.name not in protected]
            may_go = [self._pool.Job(solv.Job.SOLVER_ALLOWUNINSTALL | solv.Job.SOLVER_SOLVABLE, number) for number in free]
            self._solve(solver, [*jobs, *limiting, *may_go])
        transaction = solver.transaction()
        self._refuse_protected(transaction)
        return self._changes_of(transaction)

    def _solver(self, *, downgrade: bool) -> solv.Solver:
        solver = self._pool.Solver()
        # The flags that libdnf sets: an orphan stays, best never changes the architecture, a split package is followed.
        for flag in (
            solv.Solver.SOLVER_FLAG_KEEP_ORPHANS,
            solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
            solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
            solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED,
        ):
            solver.set_flag(flag, 1)
        for flag in (solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE, solv.Solver.SOLVER_FLAG_DUP_ALLOW_VENDORCHANGE):
            solver.set_flag(flag, int(self._settings.vendor_change))
        if downgrade:
            solver.set_flag(solv.Solver.SOLVER_FLAG_ALLOW_DOWNGRADE, 1)
        return solver

    def _solve(self, solver: solv.Solver, jobs: list[solv.Job]) -> None:
        found = solver.solve(jobs)
        if found:
            raise ContentError(
                f"the packages cannot be satisfied: {problems.describe(found, self._offer)}",
                next_step="correct the requirement in the package under test, or add the repository that provides it",
            )

    def _beyond_limit(self, transaction: solv.Transaction, side_by_side: Iterable[int]) -> list[solv.Job]:
        """The jobs that keep each name of the packages which stand side by side within ``installonly_limit``: the oldest go (dnf.conf(5))."""
        limit = self._settings.install_only_limit
        if not limit:
            return []
        steps = transaction.steps()
        going = {solvable.id for solvable in steps if solvable.isinstalled()}
        coming = {solvable.id for solvable in steps if not solvable.isinstalled()}
        jobs = []
        for capability in side_by_side:
            providers = self._pool.whatprovides(capability)
            there = [solvable for solvable in providers if solvable.id in coming or (solvable.isinstalled() and solvable.id not in going)]
            if len(there) <= limit or not any(solvable.id in coming for solvable in there):
                continue
            by_name: dict[str, list[solv.XSolvable]] = defaultdict(list)
            for solvable in there:
                by_name[solvable.name].append(solvable)
            for name, builds in by_name.items():
                if len(builds) <= limit:
                    continue
                newest_first = sorted(builds, key=functools.cmp_to_key(_evr_order), reverse=True)
                unused = [solvable for solvable in providers if solvable.name == name and not solvable.isinstalled() and solvable.id not in coming]
                jobs += [self._pool.Job(solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE, solvable.id) for solvable in newest_first[:limit]]
                gone = [*newest_first[limit:], *unused]
                jobs += [self._pool.Job(solv.Job.SOLVER_ERASE | solv.Job.SOLVER_SOLVABLE, solvable.id) for solvable in gone]
        return jobs

    def _refuse_protected(self, transaction: solv.Transaction) -> None:
        """Neither removal nor replacement by another name may take a protected package away."""
        gone = (solv.Transaction.SOLVER_TRANSACTION_ERASE, solv.Transaction.SOLVER_TRANSACTION_OBSOLETED)
        mode = solv.Transaction.SOLVER_TRANSACTION_SHOW_OBSOLETES
        protected = set(self._settings.protected)
        lost = [
            solvable
            for solvable in transaction.steps()
            if solvable.isinstalled() and solvable.name in protected and transaction.steptype(solvable, mode) in gone
        ]
        if lost:
            named = ", ".join(sorted(self._loss(transaction, solvable) for solvable in lost))
            raise ContentError(
                f"protected packages would be removed: {named}",
                next_step="exclude what replaces it in the profile ('excludepkgs'), or take it out of the image's protected_packages",
            )

    def _loss(self, transaction: solv.Transaction, solvable: solv.XSolvable) -> str:
        other = transaction.othersolvable(solvable)
        by = f", replaced by {self._offer.nevra(other.id)} of {self._offer.repository(other.id).id}" if other and not other.isinstalled() else ""
        return f"{solvfile.nevra_of(solvable)}{by}"

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


def _evr_order(left: solv.XSolvable, right: solv.XSolvable) -> int:
    return int(left.evrcmp(right))


def _newest(installed: Iterable[solv.XSolvable]) -> list[solv.XSolvable]:
    """The newest of the installed builds of one name and each architecture."""
    best: dict[str, solv.XSolvable] = {}
    for solvable in installed:
        known = best.get(solvable.arch)
        if known is None or solvable.evrcmp(known) > 0:
            best[solvable.arch] = solvable
    return list(best.values())
