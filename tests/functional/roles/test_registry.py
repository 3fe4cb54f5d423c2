"""The registry of a buildset: started, used, stopped, for real."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from tests.functional.roles.harness import ROOT, RoleCase
from tests.needs import need
from topcoat.process.network import free_port


class RegistryCase(RoleCase):
    def setUp(self) -> None:
        super().setUp()
        need("docker-registry", "openssl", "htpasswd")
        self.port = free_port()
        self.variables: dict[str, object] = {
            "run_ci_registry_listen": "127.0.0.1",
            "run_ci_registry_port": self.port,
            "run_ci_registry_wait": 15,
            "run_ci_registry_system_packages": False,
        }

    def start(self) -> dict[str, object]:
        self.addCleanup(self.stop)
        run = self.play("playbooks/registry/pre.yaml", variables=self.variables)
        self.started = run
        return run.secret_data["buildset_registry"]  # type: ignore[return-value]

    def stop(self) -> None:
        pid = self.work / "registry" / "registry.pid"
        if pid.exists():
            try:
                os.kill(int(pid.read_text()), 15)
            except ProcessLookupError:
                pass

    def ask(self, registry: dict[str, object], path: str = "/v2/", *, login: bool = True, method: str = "GET", body: bytes | None = None) -> int:
        """Status of one request, made with nothing but what was returned."""
        context = ssl.create_default_context(cadata=str(registry["cert"]))
        request = urllib.request.Request(f"https://{registry['host']}:{registry['port']}{path}", method=method, data=body)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{registry['username']}:{registry['password']}".encode()).decode())
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class Registry(RegistryCase):
    def test_life(self) -> None:
        registry = self.start()
        self.assertEqual(set(registry), {"host", "port", "username", "password", "cert"})
        self.assertEqual((registry["host"], registry["port"]), ("127.0.0.1", self.port))
        self.assertEqual(self.ask(registry), 200)
        self.assertEqual(self.ask(registry, login=False), 401, "must not be readable without the password")
        self.assertEqual(self.ask(registry, "/v2/a/b/blobs/uploads/", method="POST", body=b""), 202)
        folder = self.work / "registry"
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        for name in ("password", "htpasswd", "config.yaml"):
            self.assertEqual(stat.S_IMODE((folder / name).stat().st_mode), 0o600, name)
        self.assertFalse((folder / "tls" / "ca.key").exists(), "the authority's key must be gone")
        self.assertNotIn(str(registry["password"]), self.started.output)
        self.assertEqual(self.started.data, {}, "the password is secret data and nothing else")
        self.assertNothingOutside()
        self.assertNotIn(str(registry["password"]), _command_lines(), "a password on a command line")

        again = self.play("playbooks/registry/pre.yaml", variables=self.variables)
        self.assertEqual(again.secret_data["buildset_registry"], registry, "a second run changes nothing")

        paused = self.play("playbooks/registry/run.yaml", variables=self.variables)
        self.assertEqual(paused.zuul, {"pause": True})

        self.play("playbooks/registry/post.yaml", variables=self.variables)
        with self.assertRaises((ConnectionError, urllib.error.URLError)):
            self.ask(registry)
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["registry.log"])
        self.assertIn("listening on", (self.logs / "container-images" / "node1" / "logs" / "registry.log").read_text())
        self.assertNotIn(str(registry["password"]), "".join(path.read_text(errors="replace") for path in self.logs.rglob("*") if path.is_file()))
        self.play("playbooks/registry/post.yaml", variables=self.variables)

    def test_the_certificate_is_for_the_names_that_nodes_use(self) -> None:
        self.variables["run_ci_registry_address"] = "localhost"
        registry = self.start()
        self.assertEqual(registry["host"], "localhost")
        registry["host"] = "127.0.0.1"
        self.assertEqual(self.ask(registry), 200, "the node itself asks by address")
        context = ssl.create_default_context(cadata=str(registry["cert"]))
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="zuul-jobs.buildset-registry") as secure:
                self.assertEqual(secure.version(), "TLSv1.3")
        with self.assertRaises(ssl.SSLCertVerificationError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
                context.wrap_socket(plain, server_hostname="other.example.org")

    def test_a_registry_that_exists_is_not_started_again(self) -> None:
        known = {"host": "elsewhere.example.org", "port": 443, "username": "u", "password": "p", "cert": ""}
        run = self.play("playbooks/registry/pre.yaml", variables={**self.variables, "buildset_registry": known})
        self.assertEqual(run.secret_data, {})
        self.assertFalse((self.work / "registry").exists())

    def test_a_port_that_is_taken_is_named(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.port))
            other.listen()
            self.addCleanup(self.stop)
            run = self.play("playbooks/registry/pre.yaml", variables={**self.variables, "run_ci_registry_wait": 2}, check=False)
        self.assertNotEqual(run.code, 0)
        self.assertIn(f"The registry on port {self.port} did not answer", run.output)
        self.assertIn("address already in use", run.output)
        self.assertIn("Next step: choose a free port with run_ci_registry_port", run.output)
        self.assertEqual(run.secret_data, {}, "a registry that does not work must not be returned")

    def test_stopping_ends_only_its_own_process(self) -> None:
        self.start()
        folder = self.work / "registry"
        pid = int((folder / "registry.pid").read_text())
        self.addCleanup(lambda: os.kill(pid, 15) if _alive(pid) else None)
        # The file names a process that is not this registry: ours, the test itself.
        (folder / "registry.pid").write_text(f"{os.getpid()}\n")
        self.play("playbooks/registry/post.yaml", variables=self.variables)
        self.assertTrue(_alive(pid), "the registry was not named, so it lives")


class Container(RegistryCase):
    """The method ``container``, with an image that holds nothing but the registry."""

    def setUp(self) -> None:
        super().setUp()
        need("podman", root=True)
        storage, containers = self.folder / "storage.conf", self.folder / "containers.conf"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n')
        # A runtime and limits that also work inside a virtual machine without systemd.
        limits = 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]'
        containers.write_text(f'[containers]\n{limits}\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n')
        self.environment = {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers)}
        self.addCleanup(lambda: subprocess.run(["umount", self.folder / "graph/overlay"], capture_output=True, check=False))
        self.addCleanup(lambda: self.podman("rm", "--all", "--force", check=False))
        self.variables |= {"run_ci_registry_method": "container", "run_ci_registry_image": f"docker-archive:{self.image()}"}

    def podman(self, *words: str, check: bool = True) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(["podman", *words], env=environment, capture_output=True, text=True, check=check).stdout

    def image(self) -> Path:
        """The registry of this machine with the libraries it names, called as the published image calls it."""
        root = self.folder / "root"
        program = shutil.which("docker-registry")
        assert program
        libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)
        for path in (program, *libraries):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        subprocess.run(["tar", "-C", root, "-cf", self.folder / "root.tar", "."], check=True)
        name, packed = "localhost/registry:test", self.folder / "registry.tar"
        entrypoint = json.dumps([program, "serve"])
        self.podman("import", "--quiet", "--change", f"ENTRYPOINT {entrypoint}", str(self.folder / "root.tar"), name)
        self.podman("push", "--quiet", name, f"docker-archive:{packed}")
        self.podman("rmi", "--all", "--force")
        return packed

    def test_life(self) -> None:
        run = self.play("playbooks/registry/pre.yaml", variables=self.variables, environment=self.environment)
        registry: dict[str, object] = run.secret_data["buildset_registry"]  # type: ignore[assignment]
        self.assertEqual((self.ask(registry), self.ask(registry, login=False)), (200, 401))
        self.assertEqual(self.ask(registry, "/v2/a/b/blobs/uploads/", method="POST", body=b""), 202)
        self.assertNotIn(str(registry["password"]), run.output)
        self.assertNotIn(str(registry["password"]), self.podman("inspect", "topcoat-ci-registry"))

        again = self.play("playbooks/registry/pre.yaml", variables=self.variables, environment=self.environment)
        self.assertEqual(again.secret_data["buildset_registry"], registry, "a second run changes nothing")
        self.assertEqual(self.ask(registry), 200)

        self.play("playbooks/registry/post.yaml", variables=self.variables, environment=self.environment)
        self.assertEqual(self.podman("ps", "--all", "--quiet"), "")
        self.assertIn("listening on", (self.logs / "container-images" / "node1" / "logs" / "registry.log").read_text())


class StartScript(unittest.TestCase):
    """Ansible starts scripts on a terminal and closes it as soon as they end."""

    SCRIPT = ROOT / "roles/run-ci-registry/files/start-registry.sh"

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.pid_file = self.folder / "pid"
        self.addCleanup(self.end)
        # A busy machine: the child gets to leaving the session late.
        slow = self.folder / "bin/setsid"
        slow.parent.mkdir()
        slow.write_text(f'#!/bin/sh\nshift\n(sleep 1; exec {shutil.which("setsid")} "$@") &\n')
        slow.chmod(0o755)

    def end(self) -> None:
        pid = int(self.pid_file.read_text()) if self.pid_file.exists() else os.getpid()
        if pid != os.getpid() and _alive(pid):
            os.kill(pid, 15)

    def start(self) -> str:
        """Run the script on a terminal of its own; what it printed."""
        argv = ["sh", str(self.SCRIPT), str(self.pid_file), str(self.folder / "log"), "tail", "-f", str(self.folder / "config.yaml")]
        (self.folder / "config.yaml").touch()
        child, terminal = pty.fork()
        if not child:
            os.execvpe("sh", argv, {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})
        os.waitpid(child, 0)
        os.set_blocking(terminal, False)
        try:
            output = os.read(terminal, 4096).decode()
        except (OSError, BlockingIOError):
            output = ""
        os.close(terminal)
        return output

    def test_the_registry_outlives_the_terminal(self) -> None:
        self.start()
        pid = int(self.pid_file.read_text())
        self.assertEqual(os.getsid(pid), pid, "it has left the session of the terminal, whose end no longer reaches it")
        self.assertIn("runs already", self.start())
        self.assertEqual(int(self.pid_file.read_text()), pid)

    def test_another_program_under_the_old_number_is_not_the_registry(self) -> None:
        self.pid_file.write_text(f"{os.getpid()}\n")
        self.assertNotIn("runs already", self.start())
        self.assertNotEqual(int(self.pid_file.read_text()), os.getpid())


class UseRegistry(RegistryCase):
    def test_credentials_come_and_go(self) -> None:
        registry = self.start()
        other = {"registry.example.org": {"username": "ci", "password": "canary-4711"}}
        variables = {"buildset_registry": registry, "container_registry_credentials": other, "topcoat_ca_certificates": "# a second authority"}
        run = self.play(["use-ci-registry"], variables=variables)
        authfile = self.work / "auth" / "auth.json"
        self.assertEqual(stat.S_IMODE(authfile.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(authfile.parent.stat().st_mode), 0o700)
        auths = json.loads(authfile.read_text())["auths"]
        self.assertEqual(set(auths), {f"127.0.0.1:{self.port}", "registry.example.org"})
        self.assertEqual(base64.b64decode(auths["registry.example.org"]["auth"]).decode(), "ci:canary-4711")
        self.assertEqual(base64.b64decode(auths[f"127.0.0.1:{self.port}"]["auth"]).decode(), f"zuul:{registry['password']}")
        certificates = (self.work / "auth" / "ca.crt").read_text()
        self.assertIn("BEGIN CERTIFICATE", certificates)
        self.assertIn("# a second authority", certificates)
        for secret in (str(registry["password"]), "canary-4711"):
            self.assertNotIn(secret, run.output)
        self.assertNothingOutside()
        self.play("playbooks/base/cleanup.yaml", variables=variables)
        self.assertFalse(authfile.parent.exists())

    def test_without_any_registry(self) -> None:
        self.play(["use-ci-registry"])
        self.assertEqual(json.loads((self.work / "auth" / "auth.json").read_text()), {"auths": {}})
        self.assertFalse((self.work / "auth" / "ca.crt").exists())

    def test_registry_down(self) -> None:
        registry = self.start()
        self.play("playbooks/registry/post.yaml", variables=self.variables)
        variables = {"buildset_registry": registry, "use_ci_registry_retries": 2, "use_ci_registry_delay": 1}
        run = self.play(["use-ci-registry"], variables=variables, check=False)
        self.assertNotEqual(run.code, 0)
        self.assertIn(f"The buildset registry https://127.0.0.1:{self.port} did not answer within 2 seconds", run.output)
        self.assertIn("Next step: look at the log of the registry job", run.output)
        self.assertIn("a recheck can help", run.output)
        self.assertNotIn(str(registry["password"]), run.output)

    def test_wrong_password(self) -> None:
        registry = {**self.start(), "password": "wrong-canary"}
        variables = {"buildset_registry": registry, "use_ci_registry_retries": 2, "use_ci_registry_delay": 1}
        run = self.play(["use-ci-registry"], variables=variables, check=False)
        self.assertNotEqual(run.code, 0)
        self.assertIn("refused its own password (status 401)", run.output)
        self.assertIn("another server listens there", run.output)
        self.assertNotIn("wrong-canary", run.output)


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


if __name__ == "__main__":
    unittest.main()
