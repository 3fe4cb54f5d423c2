"""Asks dnf itself, through its API under the system's Python: requests as JSON lines on standard input, what dnf would change on standard output.

This program must never run a transaction: it only resolves.
"""

import glob
import json
import os
import sys
import tempfile

import dnf
import dnf.exceptions
import dnf.repo
import dnf.selector
import dnf.transaction


def exact(base, text, repos):
    """The one available package of a NEVRA, out of the named repositories."""
    found = [package for package in base.sack.query().available().filter(reponame=repos) if nevra(package) == text]
    if not found:
        raise dnf.exceptions.Error(f"no such package: {text}")
    return found[0]


def nevra(package):
    """name-[epoch:]version-release.arch"""
    epoch = f"{package.epoch}:" if package.epoch else ""
    return f"{package.name}-{epoch}{package.version}-{package.release}.{package.arch}"


def read_image(conf, root):
    """The image's configuration, as dnf inside of it would see it: of a root elsewhere, dnf does not look at the protected packages."""
    path = os.path.join(root, "etc/dnf/dnf.conf")
    if os.path.exists(path):
        conf.read(path)
        conf.installroot = root
    with open(path if os.path.exists(path) else os.devnull) as text:
        if "protected_packages" not in text.read():
            files = glob.glob(os.path.join(root, "etc/dnf/protected.d/*.conf"))
            conf.protected_packages = ["dnf"]
            for file in files:
                with open(file) as names:
                    conf.protected_packages += names.read().split()


def answer(request):
    """Resolve one request."""
    base = dnf.Base()
    conf = base.conf
    conf.installroot = request["root"]
    read_image(conf, request["root"])
    conf.cachedir = request["cache"]
    conf.persistdir = os.path.join(request["root"], "var/lib/dnf")
    conf.logdir = os.path.join(request["cache"], "log")
    for folder in (conf.persistdir, conf.logdir):
        os.makedirs(folder, exist_ok=True)
    conf.reposdir = []
    conf.plugins = False
    conf.best = True
    conf.install_weak_deps = False
    conf.gpgcheck = False
    conf.substitutions["arch"] = conf.substitutions["basearch"] = request["arch"]
    conf.substitutions["releasever"] = "9"
    conf.history_record = False
    # dnf 4.19 and newer leave them out unless asked; a package may require a file that only they name.
    if hasattr(conf, "optional_metadata_types"):
        conf.optional_metadata_types = ["filelists"]
    try:
        for repo in request["repositories"]:
            # Attributes, not keywords: add_new_repo keeps only the first entry of a list.
            added = dnf.repo.Repo(repo["id"], conf)
            added.baseurl = [repo["baseurl"]]
            added.priority = repo["priority"]
            added.includepkgs = repo["includepkgs"]
            added.excludepkgs = repo["excludepkgs"]
            added.module_hotfixes = repo["module_hotfixes"]
            added.skip_if_unavailable = False
            base.repos.add(added)
        base.fill_sack()
        gated = request["gated"]
        if gated:
            names = {package.name for package in base.sack.query().available().filter(reponame=gated)}
            base.sack.add_excludes(base.sack.query().available().filter(name=sorted(names), reponame__neq=gated))
        if request.get("everything"):
            base.upgrade_all()
        for name in request["upgrade"]:
            base.upgrade(name)
        for name in request["names"]:
            base.install(name)
        for text in [*request["install"], *request["reinstall"]]:
            selector = dnf.selector.Selector(base.sack)
            selector.set(pkg=[exact(base, text, gated)])
            base._goal.install(select=selector)
        try:
            base.resolve(allow_erasing=bool(request.get("erasing")))
        finally:
            if request.get("debug"):
                base._goal.write_debugdata(request["debug"])
        removed, added = [], []
        for item in base.transaction or ():
            if item.action in (*dnf.transaction.FORWARD_ACTIONS, dnf.transaction.PKG_REINSTALL):
                added.append(nevra(item.pkg))
            elif item.action in dnf.transaction.BACKWARD_ACTIONS:
                removed.append(nevra(item.pkg))
        for item in base.transaction or ():
            # Of a reinstall dnf lists the new build only; where just the architecture differs it calls that a reinstall, too.
            if item.action == dnf.transaction.PKG_REINSTALL:
                gone = [nevra(own) for own in base.sack.query().installed().filter(name=item.pkg.name)]
                removed += [text for text in gone if text not in removed and (text == nevra(item.pkg) or text not in added)]
                if nevra(item.pkg) not in gone and nevra(item.pkg) in removed:
                    removed.remove(nevra(item.pkg))
        return {"removed": sorted(removed), "added": sorted(added)}
    except (dnf.exceptions.Error, OSError) as error:
        return {"error": str(error)}
    finally:
        base.close()


def main():
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory(prefix="topcoat-oracle-") as home:
        with open(os.path.join(home, ".rpmmacros"), "w") as macros:
            macros.write("%_dbpath /var/lib/rpm\n")
        os.environ["HOME"] = home
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
