"""What dnf would change in an image, from the image's inventory and frozen repositories alone.

This module must never touch an image and never skip silently what it cannot satisfy: that is an error which names the packages.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import solv

from topcoat.errors import UsageError
from topcoat.model import Nevra, PackageChange
from topcoat.model.profile import KNOWN_ARCHITECTURES
from topcoat.rpm import solvfile
from topcoat.rpm.inventory import InstalledPackage, Inventory
from topcoat.rpm.settings import DEFAULT, Settings
from topcoat.solver import modules, selection
from topcoat.solver.available import Offer, Stock
from topcoat.solver.modules import Activity
from topcoat.solver.relevance import Relevance
from topcoat.solver.solving import MOST_INSTALLED, Solving
from topcoat.yum.repositories import Snapshot

# Public keys are in the database as packages, too, and not in the inventory's list.
_ROOM_FOR_KEYS = 100


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


class _Choice:
    """What may be used for images of equal settings, with what was found out about it."""

    def __init__(self, offer: Offer, settings: Settings, activity: Activity) -> None:
        self.offer = offer
        self.settings = settings
        self.activity = activity
        self.wants_upgrade: dict[Nevra, bool] = {}
        self.candidates: dict[tuple[str, tuple[Nevra, ...]], list[int]] = {}
        self.relevance: Relevance | None = None


class UpdateSolver:
    """Answers for many inventories over one set of repositories: they are loaded once, the installed set is swapped. Safe for several threads,
    which wait for each other.

    :param arch: RPM architecture of the images (``x86_64``).
    :param many: from how many available packages on only those are indexed that can matter to an image; the answers are the same.
    """

    def __init__(self, snapshot: Snapshot, *, arch: str, many: int = 3000) -> None:
        self._lock = threading.RLock()
        self._pool = solvfile.new_pool(check_arch(arch))
        self._filelists = solvfile.Filelists(self._pool)
        self._stock = Stock(snapshot, self._pool, self._filelists)
        # Without this the second, larger inventory writes past libsolv's map and the process dies: see reserve_considered.
        solvfile.reserve_considered(self._pool, MOST_INSTALLED + _ROOM_FOR_KEYS)
        self._snapshot = snapshot
        self._listed = selection.Listed(self._stock.repositories)
        self._streams = modules.read(snapshot)
        available = solvfile.platforms(self._stock.usable)
        self._platform = available.pop() if len(available) == 1 else None
        self._arch = arch
        self._many = many
        self._choices: dict[tuple[Settings, frozenset[Nevra]], _Choice] = {}
        self._chosen: dict[str, _Choice] = {}
        self._answers: dict[str, tuple[PackageChange, ...]] = {}

    def _choose(self, inventory: Inventory | None) -> _Choice:
        """What may be used for an image with this inventory."""
        key = inventory.key if inventory is not None else ""
        if key not in self._chosen:
            self._chosen[key] = self._find_choice(inventory)
        return self._chosen[key]

    def _find_choice(self, inventory: Inventory | None) -> _Choice:
        settings = inventory.settings if inventory is not None else DEFAULT
        installed = self._listed(inventory.nevras if inventory is not None else (), settings)
        choice = self._choices.get((settings, installed))
        if choice is None:
            platform = settings.platform if settings.fixed_platform or self._platform is None else self._platform
            activity = modules.activity(self._streams, settings, arch=self._arch, platform=platform)
            selected = selection.select(
                self._stock.usable, self._stock, self._stock.repositories, settings=settings, activity=activity, installed=installed
            )
            choice = self._choices[settings, installed] = _Choice(Offer(self._stock, selected), settings, activity)
        return choice

    def request(self, inventory: Inventory) -> UpdateRequest:
        """What has to be asked for this inventory; empty (false) when nothing in the repositories concerns it."""
        with self._lock:
            return self._request(inventory, self._choose(inventory))

    def _request(self, inventory: Inventory, choice: _Choice) -> UpdateRequest:
        upgrade: set[str] = set()
        under_test: dict[str, list[InstalledPackage]] = defaultdict(list)
        gated = choice.offer.gated
        known = choice.wants_upgrade
        for package in inventory.packages:
            nevra = package.nevra
            wanted = known.get(nevra)
            if wanted is None:
                wanted = known[nevra] = _can_upgrade(choice.offer, nevra) or (choice.settings.obsoletes and _can_obsolete(choice.offer, nevra))
            if wanted:
                upgrade.add(nevra.name)
            if nevra.name in gated:
                under_test[nevra.name].append(package)
        install: set[Nevra] = set()
        reinstall: set[Nevra] = set()
        for name, packages in under_test.items():
            _request_gated(choice.offer, gated[name], packages, install, reinstall)
        return UpdateRequest(tuple(sorted(upgrade)), tuple(sorted(install)), tuple(sorted(reinstall)))

    def held_back(self, inventory: Inventory) -> tuple[str, ...]:
        """What the image itself keeps from being updated, as sentences: packages with the reason, module streams that nobody describes."""
        with self._lock:
            choice = self._choose(inventory)
            held = choice.offer.held_back(inventory.nevras) if choice.offer.held else []
            lost = [f"module stream {stream} is enabled and no repository describes it" for stream in choice.activity.lost]
            return (*(f"{nevra} ({reason})" for nevra, reason in held), *lost)

    def changes(self, inventory: Inventory) -> tuple[PackageChange, ...]:
        """What an update layer on an image with this inventory changes, sorted; empty when nothing.

        :raises ContentError: the request cannot be satisfied; the message names packages, requirements and repositories.
        """
        with self._lock:
            if inventory.key not in self._answers:
                choice = self._choose(inventory)
                request = self._request(inventory, choice)
                self._answers[inventory.key] = self._solve(inventory, request, choice) if request else ()
            return self._answers[inventory.key]

    def resolve_install(self, names: Iterable[str], inventory: Inventory | None = None) -> tuple[PackageChange, ...]:
        """What installing packages by name changes in an image with this inventory (None: an empty root).

        :raises ContentError: a name does not exist in the repositories, or its requirements cannot be satisfied.
        """
        with self._lock:
            offer = self._choose(inventory).offer
            with Solving(offer, self._filelists, inventory, lambda _: offer.ids) as solving:
                return solving.answer([solving.install_name(name) for name in sorted(set(names))], downgrade=True)

    def _solve(self, inventory: Inventory, request: UpdateRequest, choice: _Choice) -> tuple[PackageChange, ...]:
        offer = choice.offer
        with Solving(offer, self._filelists, inventory, lambda own: self._relevant(choice, own)) as solving:
            jobs = [solving.upgrade(name, choice.candidates) for name in request.upgrade]
            jobs += [solving.install(offer.gated[nevra.name][nevra.arch]) for nevra in (*request.install, *request.reinstall)]
            return solving.answer(jobs, downgrade=bool(request.install or request.reinstall))

    def _relevant(self, choice: _Choice, own: list[solv.XSolvable]) -> Iterable[int]:
        """The available packages to index for a request about what is installed: all, unless they are many."""
        if len(choice.offer.ids) < self._many:
            return choice.offer.ids
        if choice.relevance is None:
            choice.relevance = Relevance(choice.offer, self._snapshot, self._arch)
        return choice.relevance.of(own)


def _request_gated(offer: Offer, builds: dict[str, int], packages: list[InstalledPackage], install: set[Nevra], reinstall: set[Nevra]) -> None:
    """Ask for a gated build for each architecture that an image has of a name, unless that very build is there already, alone or beside others."""
    for package in packages:
        target = builds.get(package.nevra.arch)
        if target is None and not any(other.nevra.arch in builds for other in packages):
            # The architecture changed (noarch to x86_64 or back).
            target = builds.get("noarch") or builds[min(builds)]
        if target is None:
            continue
        nevra = offer.nevra(target)
        same = next((other for other in packages if other.nevra == nevra), None)
        if same is None:
            install.add(nevra)
        elif same.build_time and offer.build_time(target) not in (0, same.build_time):
            reinstall.add(nevra)


def _can_upgrade(offer: Offer, installed: Nevra) -> bool:
    """Whether a repository that is a reason for updates offers a newer build, not hidden by one of a better priority."""
    if installed.name in offer.gated:
        return False
    newer = [offer.repository(number) for number in offer.newer(installed)]
    best = min((repository.priority for repository in newer), default=None)
    return any(repository.updates and repository.priority == best for repository in newer)


def _can_obsolete(offer: Offer, installed: Nevra) -> bool:
    offered = (offer.repository(number) for number in offer.obsoleting([installed]))
    return any(repository.updates or repository.gated for repository in offered)


def check_arch(arch: str) -> str:
    """Return the architecture when it is one that images are made for, else raise UsageError: libsolv would take any word."""
    if arch not in KNOWN_ARCHITECTURES:
        raise UsageError(f"unknown RPM architecture {arch!r}", next_step=f"write one of {', '.join(KNOWN_ARCHITECTURES)}")
    return arch
