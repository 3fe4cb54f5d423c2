"""Runs in DLRN's own Python: asks its package information driver for the packaging of one project; the answer is a line of JSON.

It must never change the checkout under test, and never build or render: it clones. Python 3.9.

Arguments: projects.ini, a folder to clone to, the checkout under test, its name, and ``NAME=FOLDER`` for each further checkout.
"""

import configparser
import json
import subprocess
import sys
from pathlib import Path


def last(url):
    """The last part of an address, without ``.git``."""
    name = str(url).rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return name[:-4] if name.endswith(".git") else name


def clone(source, target):
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", source, target], check=True, stdout=sys.stderr)


def find(packages, project):
    """The one package that is made from a project: by rdoinfo's name of it, else by the address of its source."""
    for wanted in (lambda package: package.get("project") == project, lambda package: last(package.get("upstream")) == project):
        found = [package for package in packages if wanted(package)]
        if len(found) == 1:
            return found[0]
        if found:
            sys.exit(f"error: DLRN makes {len(found)} packages of {project}: {', '.join(sorted(each['name'] for each in found))}")
    sys.exit(f"error: DLRN does not know the project {project}")


def main(config, folder, tree, project, *named):
    from dlrn.config import ConfigOptions
    from dlrn.utils import import_object

    checkouts = dict(word.split("=", 1) for word in named)
    parser = configparser.RawConfigParser()
    parser.read_string(Path(config).read_text())
    options = ConfigOptions(parser)
    options.datadir = folder
    driver = import_object(options.pkginfo_driver, cfg_options=options)
    # It would run what a template of a spec file says, here; whoever called renders it out of reach of the machine.
    driver._distgit_setup = lambda *_: None
    package = find(driver.getpackages(local_info_repo=None, tags=options.tags, dev_mode=True), project)
    name = package["name"]
    clone(tree, f"{folder}/{name}")
    distgit = last(package.get("master-distgit"))
    if distgit in checkouts:
        # In development mode DLRN leaves a distgit alone that is there.
        clone(checkouts[distgit], f"{folder}/{name}_distro")
    told = driver.getinfo(project=name, package=package, since="-1", local=True, dev_mode=True, type="rpm")
    if told.skipped or not told.commits:
        sys.exit(f"error: DLRN cannot get what it needs for {name}")
    where = Path(driver.distgit_dir(name)).resolve()
    sys.stdout.write(json.dumps({"package": name, "folder": str(where), "base": sys.base_prefix}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
