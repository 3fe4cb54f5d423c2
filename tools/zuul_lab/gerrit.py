"""The real Gerrit: get its jars, make its site, start it.

This module must never download but through Maven's own client.

``com.google.gerrit:gerrit-war`` is not among the artifacts that Maven Central serves everywhere (no metadata and no file for 3.10.5, 3.11.0 to
3.11.3 and 3.13.2 when this was written). The same server's classes are: ``gerrit-plugin-api`` holds Gerrit's server, ssh and http rooms with
their libraries, ``gerrit-acceptance-framework`` of the same version holds the programs ``init`` and ``daemon``, Jetty and H2. Both on one class
path are the whole server but for its web interface, so it runs ``--headless``. 3.10.2 is the newest pair that runs on Java 17.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from topcoat.errors import InfrastructureError, UsageError
from topcoat.process import run
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.services import Service, start

WAR_VARIABLE = "TOPCOAT_GERRIT_WAR"
_GERRIT = "3.10.2"
_BOUNCYCASTLE = "1.78.1"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get"
ARTIFACTS = (
    ("com.google.gerrit", "gerrit-plugin-api", _GERRIT),
    ("com.google.gerrit", "gerrit-acceptance-framework", _GERRIT),
    ("org.bouncycastle", "bcprov-jdk18on", _BOUNCYCASTLE),
    ("org.bouncycastle", "bcpkix-jdk18on", _BOUNCYCASTLE),
    ("org.bouncycastle", "bcpg-jdk18on", _BOUNCYCASTLE),
    ("org.bouncycastle", "bcutil-jdk18on", _BOUNCYCASTLE),
)
_JAVA_OPTIONS = (
    "-Xmx640m",
    "-XX:TieredStopAtLevel=1",
    "-Dflogger.backend_factory=com.google.common.flogger.backend.log4j.Log4jBackendFactory#getInstance",
    "-Dflogger.logging_context=com.google.gerrit.server.logging.LoggingContext#getInstance",
)


def fetch(places: Places, environment: Mapping[str, str]) -> None:
    """Have the server's jars in the cache.

    :raises InfrastructureError: neither the named war nor Maven Central gives them.
    """
    if war(environment) or _complete(places):
        return
    places.gerrit_jars.mkdir(parents=True, exist_ok=True)
    for group, artifact, version in ARTIFACTS:
        coordinate = f"{group}:{artifact}:{version}"
        log = places.logs / "maven.log"
        try:
            run(["mvn", "-B", "-q", _PLUGIN, f"-Dartifact={coordinate}", "-Dtransitive=false"], timeout=900, log=log, failure=InfrastructureError)
        except InfrastructureError as error:
            raise InfrastructureError(
                f"Gerrit can be had neither from {WAR_VARIABLE} (not set) nor from Maven Central ({coordinate}): {error.what[-400:]}",
                log=str(log),
                next_step=f"reach Maven Central, or download a Gerrit 3.10 war and name its file in {WAR_VARIABLE}",
            ) from error
        repository = Path(os.environ.get("HOME", "/root")) / ".m2/repository"
        source = repository.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")
        shutil.copy(source, places.gerrit_jars / source.name)


def war(environment: Mapping[str, str]) -> Path | None:
    """The war that the environment names, or None.

    :raises UsageError: the named file does not exist.
    """
    name = environment.get(WAR_VARIABLE)
    if name and not Path(name).is_file():
        raise UsageError(f"{WAR_VARIABLE} names {name}, which is no file", next_step="correct it, or unset it to get Gerrit from Maven Central")
    return Path(name) if name else None


def _complete(places: Places) -> bool:
    return all((places.gerrit_jars / f"{artifact}-{version}.jar").is_file() for _, artifact, version in ARTIFACTS)


def program(places: Places, environment: Mapping[str, str]) -> list[str]:
    """The beginning of every Gerrit command line."""
    named = war(environment)
    if named:
        return ["java", *_JAVA_OPTIONS, "-jar", str(named)]
    jars = [str(places.gerrit_jars / f"{artifact}-{version}.jar") for _, artifact, version in ARTIFACTS]
    return ["java", *_JAVA_OPTIONS, "-cp", ":".join(jars), "com.google.gerrit.launcher.GerritLauncher"]


_SETTINGS = {
    "gerrit.canonicalWebUrl": f"http://{at.REVIEW_HOST}:{at.GERRIT_HTTP}/",
    "auth.type": "DEVELOPMENT_BECOME_ANY_ACCOUNT",
    "auth.gitBasicAuthPolicy": "HTTP",
    "httpd.listenUrl": f"http://127.0.0.1:{at.GERRIT_HTTP}/",
    "sshd.listenAddress": f"127.0.0.1:{at.GERRIT_SSH}",
    "sshd.loginGraceTime": "60 seconds",
    "sendemail.enable": "false",
    "sendemail.allowTLD": "test",
    "change.allowBlame": "false",
    "index.onlineUpgrade": "false",
    "core.packedGitLimit": "64m",
}


def make_site(places: Places, environment: Mapping[str, str]) -> Path:
    """The initialised site of this lab, copied from the cache; initialised there first when it is new (about 6 s)."""
    kept = places.cache / "gerrit-site"
    if not (kept / "etc/gerrit.config").is_file():
        fresh = places.cache / f"gerrit-site.{os.getpid()}"
        argv = [*program(places, environment), "init", "--batch", "--dev", "--no-auto-start", "-d", fresh]
        run(argv, timeout=300, log=places.logs / "gerrit-init.log", failure=InfrastructureError)
        for key, value in _SETTINGS.items():
            run(["git", "config", "-f", fresh / "etc/gerrit.config", key, value], timeout=10)
        (fresh / "bin/gerrit.war").unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        fresh.rename(kept)
    site = places.state / "gerrit"
    shutil.copytree(kept, site, symlinks=True)
    return site


def start_gerrit(places: Places, environment: Mapping[str, str]) -> Service:
    """Start the daemon, without its web interface."""
    site = make_site(places, environment)
    return start(places, "gerrit", [*program(places, environment), "daemon", "-d", str(site), "--headless", "--console-log", "--enable-httpd"])
