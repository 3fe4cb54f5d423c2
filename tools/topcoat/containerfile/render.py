"""Writes the Containerfile of a recipe.

This module must never depend on anything but its arguments: the same recipe gives the same text everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from topcoat.containerfile import accounts, quoting
from topcoat.containerfile.context import context_files
from topcoat.containerfile.rendered import ContextFile, Rendered
from topcoat.model.labels import CLASS, DESCRIPTION, IMAGE, TITLE
from topcoat.model.profile import Profile
from topcoat.model.recipe import PARENT_LINE, PARENT_TEXT, CopyFile, Recipe

SOURCE_DATE_EPOCH = 315532800
"""Install time that rpm writes into its database (1980-01-01): the day of the build must not reach a layer."""

# What a package manager leaves that no container needs; in the same RUN, or it would stay in the layer. What a package brought stays, wherever it
# lies: rpm is asked about each leftover (there are few). A file that is a package's only as a ghost did not come with it.
CLEANUP = (
    "dnf clean all",
    """owned() { rpm -qf --qf '[%{FILEFLAGS:fflags}|%{FILENAMES}|\\n]' "$1" 2>/dev/null | grep -F "/${1##*/}|" | grep -qv '^[^|]*g'; }""",
    'sweep() ( for f in "$@"; do if [ -d "$f" ] && [ ! -L "$f" ]; then sweep "$f"/* "$f"/.[!.]* "$f"/..?*; owned "$f" || rmdir "$f" 2>/dev/null || :;'
    ' elif [ -e "$f" ] || [ -L "$f" ]; then owned "$f" || rm -f "$f"; fi; done )',
    "sweep /var/cache/dnf/* /var/cache/yum/* /var/cache/ldconfig/* /var/lib/dnf/history* /var/lib/dnf/repos /var/log/dnf* /var/log/hawkey*"
    " /var/log/yum* /run/dnf /root/.cache /tmp/* /tmp/.[!.]* /var/tmp/* /var/tmp/.[!.]*",
    # A write-ahead log that still holds pages must stay: it is part of the database.
    'for d in /var/lib/rpm /usr/lib/sysimage/rpm; do rm -f "$d"/.rpm.lock;'
    ' [ -s "$d/rpmdb.sqlite-wal" ] || rm -f "$d"/rpmdb.sqlite-wal "$d"/rpmdb.sqlite-shm; done',
)


def render(recipe: Recipe, *, parent_reference: str, profile: Profile, labels: Mapping[str, str]) -> Rendered:
    """The Containerfile of a recipe to which a profile was applied.

    :param parent_reference: what FROM names; for a root its base image, see ``base_reference``.
    :param labels: further labels, written after the recipe's own; see ``image_labels``.

    Instructions stand in the order FROM, ARG, RUN (accounts, modules and packages at once), COPY, RUN (steps), ENV, LABEL, EXPOSE, VOLUME,
    WORKDIR, HEALTHCHECK, STOPSIGNAL, ENTRYPOINT, CMD, USER. A recipe with its own Containerfile (tcib) keeps that text; only FROM and labels
    are ours.
    """
    if recipe.containerfile is not None:
        return _foreign(recipe, parent_reference, profile, labels)
    lines = [f"FROM {parent_reference}"]
    commands = _commands(recipe, profile)
    if commands or recipe.steps:
        lines.append(f"ARG SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}")
    if commands:
        lines.append(_run_line(commands))
    files: list[ContextFile] = []
    for copy in recipe.copies:
        own = context_files(copy)
        files += own
        lines.append(_copy_line(copy, own))
    lines += [quoting.run(step.run) for step in recipe.steps]
    if recipe.environment:
        lines.append(_environment_line(recipe))
    lines += _label_lines({**own_labels(recipe), **labels})
    if recipe.ports:
        lines.append("EXPOSE " + " ".join(recipe.ports))
    if recipe.volumes:
        lines.append(f"VOLUME {quoting.exec_form(recipe.volumes)}")
    if recipe.workdir:
        lines.append(f"WORKDIR {quoting.word(recipe.workdir)}")
    if recipe.healthcheck:
        lines.append(f"HEALTHCHECK CMD {quoting.exec_form(recipe.healthcheck)}")
    if recipe.stop_signal:
        lines.append(f"STOPSIGNAL {quoting.word(recipe.stop_signal)}")
    if recipe.entrypoint is not None:
        lines.append(f"ENTRYPOINT {quoting.exec_form(recipe.entrypoint)}")
    if recipe.command is not None or recipe.entrypoint is not None:
        lines.append(f"CMD {quoting.exec_form(recipe.command or ())}")
    if recipe.user:
        lines.append(f"USER {quoting.word(recipe.user)}")
    return Rendered("\n".join(lines) + "\n", tuple(dict.fromkeys(files)))


def render_tree(recipes: Mapping[str, Recipe], names: Sequence[str], *, profile: Profile, tag: str) -> dict[str, Rendered]:
    """The Containerfiles of the named recipes, each FROM its parent's repository under the tag; roots FROM the profile's base image."""
    found = {}
    for name in names:
        parent = recipes[name].parent
        reference = base_reference(profile, recipes[name]) if parent is None else f"{profile.registry}/{profile.repository_of(parent)}:{tag}"
        found[name] = render(recipes[name], parent_reference=reference, profile=profile, labels={})
    return found


def base_reference(profile: Profile, recipe: Recipe | None = None) -> str:
    """The base image of a root: its own, else the profile's, by digest where there is one (the tag is dropped then: tools disagree about both)."""
    if recipe is not None and recipe.own_base:
        return recipe.own_base
    if profile.base.digest is None:
        return profile.base.image
    head, slash, last = profile.base.source.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{profile.base.digest}"


def _run_line(commands: Sequence[str]) -> str:
    return "RUN set -eu; export SOURCE_DATE_EPOCH; \\\n    " + "; \\\n    ".join(commands)


def _environment_line(recipe: Recipe) -> str:
    return "ENV " + " \\\n    ".join(quoting.pair(name, value) for name, value in sorted(recipe.environment))


def _commands(recipe: Recipe, profile: Profile) -> list[str]:
    """Shell commands of the one RUN that makes accounts and installs packages."""
    commands = accounts.shell_lines(recipe.users)
    options = " ".join(quoting.shell(option) for option in profile.install_options)
    commands += [f"dnf -y {options} module enable {module}".replace("  ", " ") for module in recipe.modules]
    names = sorted({package.name for package in recipe.packages})
    if names:
        commands.append(f"dnf -y {options} install \\\n      ".replace("  install", " install") + " \\\n      ".join(names))
    if names or recipe.modules:
        commands += CLEANUP
    return commands


def _copy_line(copy: CopyFile, files: list[ContextFile]) -> str:
    """The COPY instruction of one entry.

    A mode that the recipe names stands in the instruction too: the context may have gone through git, which keeps nothing but "executable". Not
    that of a directory: ``--chmod`` would change its folders as well.
    """
    owner = f"--chown={copy.owner} " if copy.owner else ""
    if copy.source.is_dir():
        return f"COPY {owner}{quoting.exec_form([_context_directory(copy.source, files), copy.target.rstrip('/') + '/'])}"
    mode = "" if copy.mode is None else f"--chmod={copy.mode:04o} "
    return f"COPY {owner}{mode}{quoting.exec_form([files[0][0], copy.target])}"


def _context_directory(source: Path, files: list[ContextFile]) -> str:
    """Path in the context of a copied directory: what all its files have in common."""
    if not files:
        return f"{source.name}/"
    inside, origin, _ = files[0]
    depth = len(origin.relative_to(source).parts)
    return "/".join(inside.split("/")[:-depth]) + "/"


def own_labels(recipe: Recipe) -> dict[str, str]:
    labels = {IMAGE: recipe.name, CLASS: recipe.image_class, TITLE: recipe.name}
    if recipe.description:
        labels[DESCRIPTION] = recipe.description
    return {**labels, **dict(recipe.labels)}


def _label_lines(labels: Mapping[str, str]) -> list[str]:
    if not labels:
        return []
    return ["LABEL " + " \\\n      ".join(quoting.pair(name, value) for name, value in sorted(labels.items()))]


def _foreign(recipe: Recipe, parent_reference: str, profile: Profile, labels: Mapping[str, str]) -> Rendered:
    """A front end's own text. FROM its parent is filled in; labels, and what a profile's override adds, stand right after it."""
    added = [*_label_lines({**dict(recipe.labels), **labels})]
    if recipe.environment:
        added.append(_environment_line(recipe))
    commands = _commands(recipe, profile)
    if commands or recipe.steps:
        # The parent's user could not install anything.
        added.append("USER root")
    if commands:
        added += [f"ARG SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}", _run_line(commands)]
    added += [quoting.run(step.run) for step in recipe.steps]
    lines = (recipe.containerfile or "").split("\n")
    head = next((number for number, line in enumerate(lines) if not line.startswith(("FROM ", "ARG "))), len(lines))
    starts = [number for number, line in enumerate(lines[:head]) if line.startswith("FROM ")]
    for number in starts:
        if lines[number] == PARENT_LINE:
            lines[number] = f"FROM {parent_reference}"
    lines[starts[-1] + 1 : starts[-1] + 1] = added
    files = [(inside.removeprefix("files/"), source, mode) for copy in recipe.copies for inside, source, mode in context_files(copy)]
    return Rendered("\n".join(lines).replace(PARENT_TEXT, parent_reference), tuple(dict.fromkeys(files)))
