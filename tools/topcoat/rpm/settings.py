"""What an image's own files tell dnf: its configuration, what it protects, and the state of its module streams.

This module must never do input or output: whoever has the files hands them over.

The rules are those of dnf.conf(5) and of dnf's modularity documentation ("Modularity", "Fail-safe mechanisms").
"""

from __future__ import annotations

import configparser
import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from topcoat.archives.whiteouts import WHITEOUT_PREFIX
from topcoat.errors import ContentError

CONFIGURATION = "etc/dnf/dnf.conf"
MODULES = "etc/dnf/modules.d"
FAIL_SAFE = "var/lib/dnf/modulefailsafe"
_DEFAULTS = "etc/dnf/modules.defaults.d"
_PROTECTED = ("etc/yum/protected.d", "etc/dnf/protected.d")
_RELEASES = ("etc/os-release", "usr/lib/os-release")
_SUFFIXES = {MODULES: ".module", _DEFAULTS: ".yaml", FAIL_SAFE: ".yaml", **dict.fromkeys(_PROTECTED, ".conf")}

FOLDERS = tuple(_SUFFIXES)
"""Folders whose files matter, relative to the root."""
FILES = (CONFIGURATION, *_RELEASES)
"""Single files that matter."""
MOST_BYTES = 4 << 20
"""Of one file; the largest module documents have a tenth."""

# dnf.conf(5), installonlypkgs: the image's own list is added to this one.
_INSTALL_ONLY = ("kernel", "kernel-PAE", "installonlypkg(kernel)", "installonlypkg(kernel-module)", "installonlypkg(vm)", "multiversion(kernel)")
_INSTALL_ONLY_LIMIT = 3
_TRUE, _FALSE = ("1", "yes", "true", "on", "enabled"), ("0", "no", "false", "off", "disabled")


def wanted(path: str) -> bool:
    """Whether a file of an image, relative to its root, is one of those that matter."""
    folder, _, name = path.rpartition("/")
    return path in FILES or (folder in _SUFFIXES and name.endswith(_SUFFIXES[folder]) and not name.startswith(WHITEOUT_PREFIX))


@dataclass(frozen=True)
class ModuleState:
    """One file of /etc/dnf/modules.d. ``state`` is ``enabled``, ``disabled`` or empty: then the default stream counts."""

    name: str
    stream: str
    state: str
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What one image tells dnf; two images with equal settings and packages get the same answers.

    Lists are sorted and without doubles. ``install_only`` are names or capabilities; ``protected`` names; ``excludes`` and ``includes`` package
    specifications. ``platform`` is what modules call the distribution (``platform:el9``), ``None``: nobody says; ``fixed_platform`` says that
    dnf.conf does. ``defaults`` are module documents of the image's own, ``fail_safe`` those that dnf kept of enabled streams, by file name.
    """

    install_only: tuple[str, ...] = _INSTALL_ONLY
    install_only_limit: int = _INSTALL_ONLY_LIMIT
    protected: tuple[str, ...] = ("dnf",)
    excludes: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    unfiltered: tuple[str, ...] = ()
    """``disable_excludes``: repository ids, ``main`` or ``all``."""
    obsoletes: bool = True
    vendor_change: bool = True
    modules: tuple[ModuleState, ...] = ()
    defaults: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    fail_safe: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    platform: str | None = None
    fixed_platform: bool = False

    def to_data(self) -> dict[str, object]:
        """As data that ``json.dumps`` takes."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if getattr(self, name) != self.__dataclass_fields__[name].default}
        if self.modules:
            found["modules"] = [[state.name, state.stream, state.state, list(state.profiles)] for state in self.modules]
        return found

    @classmethod
    def from_data(cls, data: Mapping[str, object]) -> Settings:
        """Read back what ``to_data`` gave; ValueError when it is something else."""
        if unknown := data.keys() - cls.__dataclass_fields__.keys():
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))[:80]}")
        values = {name: _frozen(value) for name, value in data.items()}
        for name, value in values.items():
            if not _fits(name, value, cls.__dataclass_fields__[name].default):
                raise ValueError(f"{name} of its settings is none")
        values["modules"] = tuple(ModuleState(*entry) for entry in values.get("modules", ()))  # type: ignore[attr-defined]
        return cls(**values)  # type: ignore[arg-type]

    @property
    def digest(self) -> str:
        """Part of an inventory's key; empty for the settings of an image that says nothing."""
        data = self.to_data()
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest() if data else ""


def _frozen(value: object) -> object:
    return tuple(_frozen(entry) for entry in value) if isinstance(value, (list, tuple)) else value


def _fits(name: str, value: object, default: object) -> bool:
    """Whether a value read back is of the kind that the field holds."""
    if name == "platform":
        return value is None or isinstance(value, str)
    if not isinstance(default, tuple):
        return type(value) is type(default)
    if not isinstance(value, tuple):
        return False
    if name == "modules":
        return all(isinstance(entry, tuple) and len(entry) == 4 and _texts(entry[:3]) and _texts(entry[3]) for entry in value)
    if name in ("defaults", "fail_safe"):
        return all(_texts(entry) and len(entry) == 2 for entry in value)
    return _texts(value)


def _texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)


DEFAULT = Settings()


def read(files: Mapping[str, bytes], installed: Iterable[str] = ()) -> Settings:
    """The settings that an image's files make.

    :param files: path relative to the root → content, of those that are ``wanted``.
    :param installed: module platforms that installed packages which provide ``system-release`` name (``base-module(platform:el9)``).
    :raises ContentError: dnf.conf is not one.
    """
    texts = {path: content.decode("utf-8", "surrogateescape") for path, content in files.items()}
    main = _main(texts.get(CONFIGURATION, ""))
    fixed = main.get("module_platform_id", "").strip() or None
    platforms = set(installed)
    modules = tuple(sorted(filter(None, (_module(path, text) for path, text in texts.items() if path.startswith(f"{MODULES}/"))), key=str))
    streams = {f"{state.name}:{state.stream}:" for state in modules if state.state == "enabled"}
    kept = {path.rpartition("/")[2]: text for path, text in texts.items() if path.startswith(f"{FAIL_SAFE}/")}
    protected = _words(main["protected_packages"]) if "protected_packages" in main else ["dnf", *(f"glob:/{folder}/*.conf" for folder in _PROTECTED)]
    return Settings(
        install_only=_install_only(main.get("installonlypkgs", "")),
        install_only_limit=_limit(main.get("installonly_limit")),
        protected=_sorted(_resolved(protected, texts)),
        excludes=_sorted(_words(f"{main.get('exclude', '')} {main.get('excludepkgs', '')}")),
        includes=_sorted(_words(main.get("includepkgs", ""))),
        unfiltered=_sorted(_words(main.get("disable_excludes", ""))),
        obsoletes=_flag(main, "obsoletes", True),
        vendor_change=_flag(main, "allow_vendor_change", True),
        modules=modules,
        defaults=tuple(sorted((path, text) for path, text in texts.items() if path.startswith(f"{_DEFAULTS}/"))),
        fail_safe=tuple(sorted((name, text) for name, text in kept.items() if any(name.startswith(stream) for stream in streams))),
        platform=fixed or (platforms.pop() if len(platforms) == 1 else None) or _platform_id(texts),
        fixed_platform=fixed is not None,
    )


def _sorted(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _install_only(text: str) -> tuple[str, ...]:
    """The image's list goes on where dnf's own ends, unless it starts with a comma."""
    if text.lstrip().startswith(","):
        return _sorted(_words(text))
    own = set(_words(text)) - set(_INSTALL_ONLY)
    return (*_INSTALL_ONLY, *sorted(own))


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _main(text: str) -> dict[str, str]:
    """The section [main]: ``key = value``, later ones win, indented lines go on, # and ; start comments."""
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), strict=False, allow_no_value=True, empty_lines_in_values=False, default_section="\0"
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, f"/{CONFIGURATION}")
    except configparser.Error as error:
        what = str(error).replace("\n", " ")
        raise ContentError(f"the image's dnf.conf cannot be read: {what}", next_step="correct it in the base image; dnf fails there, too") from error
    return {key: value or "" for key, value in parser.items("main")} if parser.has_section("main") else {}


def _limit(text: str | None) -> int:
    if text is None:
        return _INSTALL_ONLY_LIMIT
    if text.strip() == "<off>":
        return 0
    # dnf ignores what it does not take: 1, less than none, no number.
    return int(text) if re.fullmatch(r"\s*\d{1,9}\s*", text) and int(text) != 1 else _INSTALL_ONLY_LIMIT


def _flag(main: Mapping[str, str], key: str, default: bool) -> bool:
    word = main.get(key, "").strip().lower()
    return True if word in _TRUE else False if word in _FALSE else default


def _resolved(words: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """``glob:/path/*.conf`` stands for the names in those files."""
    found = []
    for word in words:
        if not word.startswith("glob:"):
            found.append(word)
            continue
        pattern = word.removeprefix("glob:").lstrip("/")
        for path, text in texts.items():
            if path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern):
                found += [name for line in text.splitlines() if not line.lstrip().startswith("#") for name in _words(line)]
    return found


def _module(path: str, text: str) -> ModuleState | None:
    """One file of modules.d: a section named as the file, with stream, profiles, and state (of old: enabled)."""
    name = path.rpartition("/")[2].removesuffix(".module")
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False, allow_no_value=True, default_section="\0")
    try:
        parser.read_string(text)
        section = {key: (value or "").strip() for key, value in parser.items(name)}
    except configparser.Error:
        return None  # as dnf: such a file says nothing
    if "stream" not in section or "profiles" not in section or not {"state", "enabled"} & section.keys():
        return None
    word = section.get("enabled", section.get("state", ""))
    state = "enabled" if word in ("1", "true", "enabled") else "disabled" if word in ("0", "false", "disabled") else ""
    return ModuleState(name, section["stream"], state, tuple(_words(section["profiles"])))


def _platform_id(texts: Mapping[str, str]) -> str | None:
    """PLATFORM_ID of os-release(5)."""
    for path in _RELEASES:
        match = re.search(r'^\s*PLATFORM_ID\s*=\s*"([^":]+:[^":]+)"', texts.get(path, ""), re.MULTILINE)
        if match:
            return match.group(1)
    return None
