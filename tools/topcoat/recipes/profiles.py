"""Profiles: what a site decides, as one YAML file, read and checked.

This module must never hold or accept a password, and never leave a placeholder unfilled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from topcoat.documents.expressions import expression
from topcoat.documents.yamltree import Node, parse_file
from topcoat.errors import UsageError
from topcoat.model.image import Digest, ImageReference, check_digest, check_repository, check_tag, is_host
from topcoat.model.profile import (
    ARCHITECTURES,
    COMPRESSION_FORMATS,
    IMAGE_FORMATS,
    MISSING,
    Architecture,
    Base,
    Link,
    Profile,
    Repository,
    SignaturePolicy,
    WantedImages,
)
from topcoat.recipes.reading import ENVIRONMENT_NAME, LABEL_NAME, Problems, Reader, nearest
from topcoat.recipes.schema import read_packages, read_steps

_OWN_PROFILES = Path(__file__).parents[3] / "container-images" / "profiles"
_STAND_IN = "stand-in"
_ARCH = "arch"
"""The placeholder that is not declared: the architecture that the profile is loaded for."""
_ARCH_KEYS = ("arch", "architectures")
"""What says which architecture that can be, so it is filled before."""
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_URL = re.compile(r"(?:file|http|https)://\S+")
_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_PATTERN = re.compile(r"[A-Za-z0-9._+*?\[\]!-]+")
_SELECTOR = re.compile(r"(?:(?:family|class):)?[a-z0-9][a-z0-9._-]*")
_NAME_PART = re.compile(r"[a-z0-9._-]*")

_TEXT_KEYS = ("distro", "release", "arch", "registry", "namespace", "prefix", "suffix", "reference_tag", "reference_registry", "reference_namespace")
_KEYS = (
    "variables",
    "name",
    *_TEXT_KEYS,
    "architectures",
    "base",
    "repositories",
    "not_containerised",
    "allowed_to_fail",
    "labels",
    "env",
    "install_options",
    "image_format",
    "compression_format",
    "overrides",
    "gating",
    "images",
    "promote_signatures",
    "links",
)
_SIGNATURE_KEYS = ("signed", "signed_metadata", "keys")
_REPOSITORY_KEYS = ("id", "baseurl", "priority", "includepkgs", "excludepkgs", "module_hotfixes", "updates", "gated", "ca_file", *_SIGNATURE_KEYS)
_SIGNED = ("required", "optional", "never")
_IMAGES_KEYS = ("list", "values", "exclude")
_LIST_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OVERRIDE_KEYS = ("packages", "labels", "env", "run", "network")


def profile_path(name_or_path: str, root: Path) -> Path:
    """The file of a profile: a path (anything with a slash or ``.yaml``), else ``root/profiles/<name>.yaml``.

    Trees without profiles (tcib) use those of this checkout.

    :raises UsageError: there is none; names the nearest.
    """
    if "/" in name_or_path or name_or_path.endswith(".yaml"):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise UsageError(f"no such profile: {name_or_path!r}", next_step="give a file or a name under profiles/")
    folders = [root / "profiles", _OWN_PROFILES]
    known: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            known.setdefault(path.stem, path)
    if name_or_path in known:
        return known[name_or_path]
    step = f"known profiles: {', '.join(sorted(known))}" if known else f"{folders[0]} holds no profile; give a file with --profile"
    raise UsageError(f"no such profile: {name_or_path!r}{nearest(name_or_path, known)}", next_step=step)


def load_profile(
    name_or_path: str, *, root: Path, variables: Mapping[str, str], fallback: Mapping[str, str] | None = None, arch: str | None = None
) -> Profile:
    """Load a profile and fill its ``${name}`` placeholders.

    :param root: the recipe tree. :param variables: values that win over the profile's own ``variables``; names that the profile does not declare
        are an error, so that a mistyped ``--set`` is never ignored (names that start with ``tcib_`` belong to tcib trees).
    :param fallback: values for variables that would have none.
    :param arch: one of the profile's architectures, instead of the one that it names first.
    :raises UsageError: with file and line.
    """
    path = profile_path(name_or_path, root)
    profile, problems = examine_profile(path, variables, fallback=fallback, arch=arch)
    problems.raise_first()
    return profile


def examine_profile(
    path: Path, variables: Mapping[str, str], *, fallback: Mapping[str, str] | None = None, fill_missing: bool = False, arch: str | None = None
) -> tuple[Profile, Problems]:
    """Load a profile and keep every problem (what ``topcoat lint`` shows).

    :param fill_missing: take a stand-in for variables that have no value, to check the rest.
    """
    problems = Problems()
    reader = Reader(problems)
    document = parse_file(path, str(path))
    if document is None:
        raise UsageError("is empty", where=str(path), next_step="write a profile")
    entries = reader.mapping(document, "a profile", _KEYS)
    declared = _variables(reader, entries.pop("variables", None), variables)
    declared = {name: (fallback or {}).get(name) if value is None else value for name, value in declared.items()}
    if fill_missing:
        declared = {name: _STAND_IN if value is None else value for name, value in declared.items()}
    architectures = _architectures(reader, document, entries, arch, declared)
    for key, node in entries.items():
        if key not in _ARCH_KEYS:
            _fill(node, declared, problems)
    texts = {key: reader.text(entries[key], key, empty=True) or "" for key in _TEXT_KEYS if key in entries}
    for key in ("distro", "release", "arch", "registry"):
        if not texts.get(key):
            problems.add(entries.get(key, document), f"the profile has no {key}", f"add '{key}: <value>'")
    _check_names(texts, entries, problems)
    if arch is not None:
        texts["arch"] = arch
    profile = Profile(
        name=(reader.text(entries["name"], "name") if "name" in entries else None) or path.stem,
        base=_base(reader, entries),
        repositories=_repositories(reader, entries, path),
        gating_signatures=_gating(reader, entries, path),
        promote_signatures=_one_of(reader, entries, "promote_signatures", _SIGNED[:2], "optional"),
        not_containerised=_patterns(reader, entries, "not_containerised", every=False),
        allowed_to_fail=_patterns(reader, entries, "allowed_to_fail", every=False),
        labels=reader.pairs(entries["labels"], "labels", LABEL_NAME) if "labels" in entries else (),
        environment=reader.pairs(entries["env"], "env", ENVIRONMENT_NAME) if "env" in entries else (),
        overrides=_overrides(reader, entries),
        image_format=_one_of(reader, entries, "image_format", IMAGE_FORMATS, IMAGE_FORMATS[0]),
        compression_format=_one_of(reader, entries, "compression_format", COMPRESSION_FORMATS, COMPRESSION_FORMATS[0]),
        images=_images(reader, entries, path),
        links=_links(reader, entries),
        architectures=architectures,
        **{"distro": "", "release": "", "arch": "", "registry": "", "namespace": "", **texts},  # type: ignore[arg-type]
        **({"install_options": reader.texts(entries["install_options"], "install_options")} if "install_options" in entries else {}),  # type: ignore[arg-type]
    )
    return profile, problems


def _architectures(
    reader: Reader, document: Node, entries: Mapping[str, Node], arch: str | None, values: dict[str, str | None]
) -> tuple[Architecture, ...]:
    """The architectures of a site, and which of them the profile is loaded for: it becomes the value of ``${arch}`` in everything else.

    :param arch: what was asked for.
    """
    if _ARCH in values:
        reader.problems.add(
            entries.get("arch", document), "'arch' cannot be a variable: ${arch} is the profile's architecture", "remove it, or rename it"
        )
    for key in _ARCH_KEYS:
        if key in entries:
            _fill(entries[key], values, reader.problems)
    own = entries["arch"].text if "arch" in entries and entries["arch"].kind == "scalar" else ""
    if own:
        reader.architecture(entries["arch"], own)
    found: list[Architecture] = []
    for item in reader.items(entries["architectures"], "architectures") if "architectures" in entries else ():
        parts = {"arch": item} if item.kind == "scalar" else reader.mapping(item, "an architecture", ("arch", "missing"))
        name = reader.text(parts["arch"], "an architecture") if "arch" in parts else None
        if name is None:
            if "arch" not in parts:
                reader.problems.add(item, "an architecture has no name", "write x86_64, or {arch: aarch64, missing: late}")
            continue
        if name not in ARCHITECTURES:
            reader.problems.add(item, f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}", f"write one of {', '.join(ARCHITECTURES)}")
        elif name in [known.name for known in found]:
            reader.problems.add(item, f"architecture {name} is listed twice", "remove one")
        else:
            found.append(Architecture(name, _one_of(reader, parts, "missing", MISSING, "fail")))
    names = [one.name for one in found]
    if "architectures" in entries and own and own not in names:
        reader.problems.add(entries["architectures"], f"the profile's own arch {own} is none of its architectures", f"add {own}")
    if found and all(one.missing != "fail" for one in found):
        reader.problems.add(
            entries["architectures"], "every architecture may be missing, so a set could be empty", "leave 'missing' out for one of them"
        )
    if arch is not None and arch not in (names or [own]):
        have = ", ".join(names) or own
        reader.problems.add(
            entries.get("architectures", entries.get("arch", document)),
            f"the profile has no architecture {arch!r}{nearest(arch, names or [own])}, only {have}",
            "choose one of these with --arch, or add it to 'architectures'",
        )
    values[_ARCH] = arch or own
    return tuple(found)


def _links(reader: Reader, entries: Mapping[str, Node]) -> tuple[Link, ...]:
    found = []
    for node in reader.items(entries["links"], "links") if "links" in entries else ():
        given = reader.mapping(node, "a link", ("match", "url"))
        match, url = (reader.text(given[key], key) if key in given else None for key in ("match", "url"))
        if not match or not url:
            reader.problems.add(node, "a link has no match or no url", "write '{ match: REGEX, url: https://... }'")
            continue
        if not _checked(expression, match, given["match"], reader.problems):
            continue
        if not re.match(r"https?://[^/\s{}]+/", url):
            reader.problems.add(given["url"], f"no web address: {url!r}", "write https://bugs.example.org/{0}")
        elif any(int(number) > re.compile(match).groups for number in re.findall(r"\{(\d)\}", url)):
            reader.problems.add(given["url"], f"{url!r} names a group that the pattern has not", "{0} is what was found, {1} its first group")
        else:
            found.append(Link(match, url))
    return tuple(found)


def _images(reader: Reader, entries: Mapping[str, Node], profile: Path) -> WantedImages | None:
    """An image list: its name or file alone, or with values and exceptions. A file is relative to the profile."""
    if "images" not in entries:
        return None
    node = entries["images"]
    parts = {"list": node} if node.kind == "scalar" else reader.mapping(node, "images", _IMAGES_KEYS)
    if "list" not in parts:
        if node.kind == "map":
            reader.problems.add(node, "images names no list", "write 'images: NAME', a name under lists/ or a file")
        return None
    source = reader.text(parts["list"], "images")
    if source is None:
        return None
    if "/" in source or source.endswith((".yaml", ".yml", ".j2")):
        source = str((profile.absolute().parent / source).resolve())
    exclude = reader.texts(parts["exclude"], "exclude", empty=False) if "exclude" in parts else ()
    if not all(_checked(expression, pattern, parts["exclude"], reader.problems) for pattern in exclude):
        return None
    return WantedImages(source, reader.pairs(parts["values"], "values", _LIST_VARIABLE) if "values" in parts else (), exclude)


def _variables(reader: Reader, node: Node | None, given: Mapping[str, str]) -> dict[str, str | None]:
    """Declared variables with the value that holds; None for one that has neither default nor value."""
    values: dict[str, str | None] = {}
    if node is not None and node.kind != "map":
        reader.problems.add(node, f"variables must be a mapping, not {node.describe()}", "write 'name: default' lines")
        node = None
    for key, value in node.entries if node is not None else ():
        if value.kind != "scalar":
            reader.problems.add(
                value, f"the default of {key.text!r} must be text, not {value.describe()}", "write one value, or null when it must be given"
            )
            continue
        values[key.text] = None if value.value is None and value.text != "" else value.text
    for name in given:
        if name not in values and not name.startswith("tcib_"):
            step = f"the profile declares: {', '.join(sorted(values)) or 'no variables'}"
            reader.problems.add("", f"the profile has no variable {name!r}{nearest(name, values)}", step)
        elif name in values:
            values[name] = given[name]
    return values


def _fill(node: Node, values: Mapping[str, str | None], problems: Problems) -> None:
    """Replace placeholders in every scalar below a node; once, so that a value can never smuggle in another placeholder."""
    for _, value in node.entries:
        _fill(value, values, problems)
    for item in node.items:
        _fill(item, values, problems)
    if node.kind != "scalar" or "${" not in node.text:
        return

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            problems.add(node, f"unknown placeholder ${{{name}}}{nearest(name, values)}", "declare it under 'variables'")
        elif values[name] is None:
            problems.add(node, f"the variable {name!r} has no value", f"give --set {name}=VALUE")
        return values.get(name) or ""

    node.text = _PLACEHOLDER.sub(value_of, node.text)
    node.value = node.text


def _check_names(texts: Mapping[str, str], entries: Mapping[str, Node], problems: Problems) -> None:
    for key in ("registry", "reference_registry"):
        if texts.get(key) and not is_host(texts[key]):
            problems.add(entries[key], f"{key} is not a registry host: {texts[key]!r}", "write host or host:port")
    for key in ("namespace", "reference_namespace"):
        if texts.get(key):
            _checked(check_repository, texts[key], entries[key], problems)
    for key in ("prefix", "suffix"):
        if not _NAME_PART.fullmatch(texts.get(key, "")):
            problems.add(entries[key], f"{key} holds characters outside the OCI grammar: {texts[key]!r}", "use lower-case letters, digits, . _ -")
    if texts.get("reference_tag"):
        _checked(check_tag, texts["reference_tag"], entries["reference_tag"], problems)


def _checked(check: Callable[[str], object], value: str, node: Node, problems: Problems) -> bool:
    """Whether a check takes a value; what it says against it is noted."""
    try:
        check(value)
    except UsageError as error:
        problems.add(node, error.what, error.next_step)
        return False
    return True


def _base(reader: Reader, entries: Mapping[str, Node]) -> Base:
    if "base" not in entries:
        return Base("")  # a site that builds nothing has none; whoever builds is told by ``apply_profile``
    parts = reader.mapping(entries["base"], "base", ("image", "digest", "mirror"))
    image = reader.text(parts["image"], "base image") if "image" in parts else None
    if image is None and "image" not in parts:
        reader.problems.add(entries["base"], "base has no image", "add 'image: host/repository:tag'")
    digest = parts["digest"].text if "digest" in parts and parts["digest"].kind == "scalar" else ""
    if digest and digest != _STAND_IN:
        _checked(check_digest, digest, parts["digest"], reader.problems)
    mirror = reader.text(parts["mirror"], "base mirror", empty=True) if "mirror" in parts else ""
    if mirror and mirror != _STAND_IN:
        _checked(_without_tag, mirror, parts["mirror"], reader.problems)
    return Base(image or "", Digest(digest) if digest not in ("", _STAND_IN) else None, mirror or "")


def _without_tag(mirror: str) -> None:
    reference = ImageReference.parse(mirror)
    if reference.tag or reference.digest:
        raise UsageError(f"the base's mirror is a repository, not {mirror!r}", next_step="write host/repository, without tag and digest")


def _one_of(reader: Reader, entries: Mapping[str, Node], key: str, words: tuple[str, ...], default: str) -> str:
    if key not in entries:
        return default
    text = reader.text(entries[key], key) or default
    if text not in words:
        reader.problems.add(entries[key], f"{key} is not {text!r}{nearest(text, words)}", f"write one of {', '.join(words)}")
        return default
    return text


def _ca_file(reader: Reader, node: Node, profile: Path) -> str | None:
    """The path of a certificate authority, relative to the profile; empty: none."""
    text = reader.text(node, "ca_file", empty=True)
    return str((profile.absolute().parent / text).resolve()) if text else None


def _signatures(reader: Reader, parts: Mapping[str, Node], node: Node, profile: Path) -> SignaturePolicy:
    """The signature policy of a repository. Who lists keys wants them used: then the default is ``required``."""
    keys = []
    for item in reader.items(parts["keys"], "keys") if "keys" in parts else ():
        text = reader.text(item, "an entry of keys")
        if not text:
            continue
        if "://" not in text:
            keys.append((profile.absolute().parent / text).resolve().as_uri())
        elif _URL.fullmatch(text) and not re.match(r"https?://[^/]*@", text):
            keys.append(text)
        else:
            reader.problems.add(item, f"not the place of a key: {text!r}", "write a file relative to the profile, or a file, http or https URL")
    signed = _one_of(reader, parts, "signed", _SIGNED, "required" if keys else "optional")
    if signed == "required" and not keys:
        reader.problems.add(parts.get("signed", node), "signed: required needs keys", "add 'keys: [FILE]', or write 'signed: optional'")
    metadata = _one_of(reader, parts, "signed_metadata", ("required", "never"), "never")
    if metadata == "required" and not keys:
        reader.problems.add(parts.get("signed_metadata", node), "signed_metadata: required needs keys", "add 'keys: [FILE]'")
    return SignaturePolicy(signed, tuple(dict.fromkeys(keys)), metadata)


def _gating(reader: Reader, entries: Mapping[str, Node], profile: Path) -> SignaturePolicy:
    """The policy for packages of the changes under test, which usually nobody signed."""
    if "gating" not in entries:
        return SignaturePolicy()
    return _signatures(reader, reader.mapping(entries["gating"], "gating", _SIGNATURE_KEYS), entries["gating"], profile)


def _repositories(reader: Reader, entries: Mapping[str, Node], profile: Path) -> tuple[Repository, ...]:
    found: list[Repository] = []
    for item in reader.items(entries["repositories"], "repositories") if "repositories" in entries else ():
        parts = reader.mapping(item, "a repository", _REPOSITORY_KEYS)
        if "id" not in parts or "baseurl" not in parts:
            reader.problems.add(item, "a repository needs id and baseurl", "write {id: current, baseurl: https://...}")
            continue
        name = reader.matching(parts["id"], "id", _REPOSITORY_ID, "a repository id")
        url = reader.matching(parts["baseurl"], "baseurl", _URL, "a file://, http:// or https:// URL", limit=2048)
        if url and re.match(r"https?://[^/]*@", url):
            reader.problems.add(parts["baseurl"], "baseurl holds a user or password", "use a repository that needs none")
        if name is None or url is None:
            continue
        if name in [known.id for known in found]:
            reader.problems.add(item, f"repository {name!r} is listed twice", "remove one")
            continue
        priority = reader.integer(parts["priority"], "priority", 1, 99) if "priority" in parts else 99
        found.append(
            Repository(
                id=name,
                baseurl=url,
                priority=priority or 99,
                includepkgs=_patterns(reader, parts, "includepkgs"),
                excludepkgs=_patterns(reader, parts, "excludepkgs"),
                signatures=_signatures(reader, parts, item, profile),
                ca_file=_ca_file(reader, parts["ca_file"], profile) if "ca_file" in parts else None,
                **{key: reader.flag(parts[key], key) for key in ("module_hotfixes", "updates", "gated") if key in parts},
            )
        )
    return tuple(found)


def _patterns(reader: Reader, entries: Mapping[str, Node], key: str, *, every: bool = True) -> tuple[str, ...]:
    """A list of fnmatch patterns of names.

    :param every: a pattern may fit all names; exceptions from a check never may, so each of theirs holds a letter or digit outside brackets.
    """
    if key not in entries:
        return ()
    found = []
    for item in reader.items(entries[key], key):
        value = reader.matching(item, f"an entry of {key}", _PATTERN, "a name or a pattern with * and ?")
        if value and not every and not re.search(r"[A-Za-z0-9]", re.sub(r"\[[^\]]*\]", "", value)):
            reader.problems.add(item, f"{value!r} in {key} fits every name", "name the exceptions, for example '*-doc'")
        elif value:
            found.append(value)
    return tuple(found)


def _overrides(reader: Reader, entries: Mapping[str, Node]) -> tuple[tuple[str, tuple[tuple[str, object], ...]], ...]:
    node = entries.get("overrides")
    found = []
    if node is not None and node.kind != "map":
        reader.problems.add(node, f"overrides must be a mapping, not {node.describe()}", "write '<image>: {packages: [...]}'")
        return ()
    for key, body in node.entries if node is not None else ():
        if not _SELECTOR.fullmatch(key.text):
            reader.problems.add(key, f"not a selector: {key.text!r}", "write an image name, family:<name> or class:<name>")
            continue
        parts = reader.mapping(body, f"the override of {key.text}", _OVERRIDE_KEYS)
        values: list[tuple[str, object]] = [("where", key.where)]
        if "packages" in parts:
            values.append(("packages", read_packages(reader, parts["packages"])))
        if "labels" in parts:
            values.append(("labels", reader.pairs(parts["labels"], "labels", LABEL_NAME)))
        if "env" in parts:
            values.append(("environment", reader.pairs(parts["env"], "env", ENVIRONMENT_NAME)))
        if "run" in parts:
            values.append(("steps", read_steps(reader, parts["run"])))
        if "network" in parts:
            values.append(("network", reader.flag(parts["network"], "network")))
        found.append((key.text, tuple(values)))
    return tuple(found)
