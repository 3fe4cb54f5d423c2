"""The only contact with Zuul's own code: a tenant in memory, its parser, its layout, its job graph.

This module must never start a service, and no test may import ``zuul`` beside it: everything here is internal to Zuul, so a new
release breaks this file and nothing else.  Written against zuul 14.3.
"""

from __future__ import annotations

import importlib
import logging
import sys
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

try:
    import re2
    from zuul import change_matcher, configloader, model
    from zuul.exceptions import ConfigurationError
    from zuul.zk.components import COMPONENT_REGISTRY
    from zuul.zk.zkobject import LocalZKContext
except ImportError as error:  # The tests fail with this reason.
    MISSING = f"zuul is not installed ({error}); 'tox -e zuul-config' does it"
else:
    MISSING = ""

HOST = "review.example.org"


@dataclass(frozen=True)
class Frozen:
    """One job as Zuul would run it."""

    name: str
    pre_run: tuple[str, ...]
    run: tuple[str, ...]
    post_run: tuple[str, ...]
    cleanup: tuple[str, ...]
    """Playbooks that run after an abort too."""
    dependencies: tuple[tuple[str, bool], ...]
    """(job, soft)."""
    requires: frozenset[str]
    provides: frozenset[str]
    variables: dict[str, object]
    secrets: tuple[str, ...]
    timeout: int | None
    attempts: int
    semaphores: tuple[str, ...]
    nodes: tuple[str, ...]
    """Names of the nodes of its nodeset."""


@dataclass
class Refused(Exception):
    """Zuul would report this instead of running jobs."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass
class _Change:
    """What matchers and the job graph read of a change or a branch."""

    project: object
    branch: str = "master"
    files: list[str] | None = field(default_factory=lambda: None)  # no default: the class itself must not have the attribute
    number: str | None = None
    cache_key: str = "cache"
    ref: str = "refs/heads/master"
    containing_branches: list[str] = field(default_factory=list)
    cache_stat: object = None

    def __post_init__(self) -> None:
        if self.files is None:
            # A branch in a periodic pipeline has no such attribute at all, and matchers ask for it.
            del self.files

    def getBranches(self) -> list[str]:
        return [self.branch]

    def toDict(self) -> dict[str, object]:
        return {}


class Site:
    """A tenant with one config project (base job, pipelines) and some untrusted ones."""

    def __init__(self, untrusted: Sequence[str], *, config: str = "site/config", default_base_job: str = "base") -> None:
        logging.getLogger("zuul").setLevel(logging.CRITICAL)
        # The model asks for the version that all components of an installation speak.
        COMPONENT_REGISTRY.registry = types.SimpleNamespace(model_api=10_000)
        connection = types.SimpleNamespace(connection_name="gerrit", driver=types.SimpleNamespace(name="gerrit"), source=None)
        self._source = types.SimpleNamespace(
            connection=connection,
            canonical_hostname=HOST,
            getProjectDefaultMergeMode=lambda project, valid_modes=None: "merge-resolve",
            getProjectDefaultBranch=lambda project, tenant: "master",
            getTriggerFilterSchema=dict,
        )
        self.tenant = model.Tenant("test")
        self.tenant.default_base_job = default_base_job
        self.tenant.default_ansible_version = "11"
        self.tenant.semaphore_handler = types.SimpleNamespace()
        self.tenant.max_job_timeout = 10800  # What Zuul sets when the tenant says nothing.
        self.tenant.allowed_labels = None
        self.tenant.disallowed_labels = None
        for name in (config, *untrusted):
            self._add_project(name, trusted=name == config)
        connections = types.SimpleNamespace(connections={"gerrit": connection}, drivers={}, getSource=lambda name: self._source)
        globals_ = types.SimpleNamespace(
            default_merge_mode=model.MERGER_MERGE_RESOLVE,
            store_private_key=False,
            max_hold_expiration=0,
            default_hold_expiration=0,
            oidc_default_signing_algorithm="RS256",
            oidc_supported_signing_algorithms=["RS256"],
        )
        ansible = types.SimpleNamespace(requestVersion=lambda version: None, getSupportedVersions=lambda: ["9", "11"])
        self._system = types.SimpleNamespace(system_id="test")
        self._parser = configloader.TenantParser(connections, None, None, None, None, globals_, None, None)
        self._context = configloader.ParseContext(connections, globals_, self._system, ansible)
        self._context.pipeline_parser.getSchema = lambda: configloader.vs.Schema({}, extra=configloader.vs.ALLOW_EXTRA)
        self._parsed = model.ParsedConfig()
        self.layout = None
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.pipelines: dict[str, bool] = {}

    def _add_project(self, name: str, *, trusted: bool) -> None:
        project = model.Project(name, self._source)
        config = model.TenantProjectConfig(project)
        config.trusted = trusted
        config.load_classes = set(configloader.TenantParser.job_classes)
        config.branches = ["master"]
        self.tenant._addProject(config)

    def project(self, name: str) -> object:
        """Zuul's object of a project, by its name."""
        return self.tenant.getProject(name)[1]

    def load(self, project: str, files: Iterable[tuple[str, str]]) -> None:
        """Parse configuration files, (path, text), of one project."""
        found = self.project(project)
        for path, text in files:
            source = model.SourceContext(found.canonical_name, found.name, "gerrit", "master", path)
            with self._context.errorContext(error_list=self._context.error_list, source_context=source):
                with self._context.accumulator.catchErrors():
                    unparsed = model.UnparsedConfig()
                    unparsed.extend(configloader.safe_load_yaml(text, source))
                    for entry in unparsed.pipelines:
                        # Triggers and reporters belong to drivers, which have no part in what a job is.
                        self.pipelines[entry["name"]] = bool(entry.get("post-review", False))
                    unparsed.pipelines = []
                    self._parsed.extend(self._parser.parseConfig(unparsed, self._context))

    def load_folder(self, project: str, root: Path, *extra: str) -> None:
        """Parse ``zuul.d`` of a checkout and further folders (``extra-config-paths`` of the tenant), in the order that Zuul reads them."""
        for folder in ("zuul.d", *extra):
            found = sorted((root / folder).rglob("*.yaml"))
            self.load(project, [(str(path.relative_to(root)), path.read_text(encoding="utf-8")) for path in found])

    def finish(self) -> None:
        """Make the layout; every message of Zuul is in ``errors`` or ``warnings`` after it."""
        self.layout = model.Layout(self.tenant)
        self.tenant.layout = self.layout
        for name, post_review in self.pipelines.items():
            pipeline = model.Pipeline(name)
            pipeline.post_review = post_review
            manager = types.SimpleNamespace(pipeline=pipeline, tenant=self.tenant, getFallbackLayout=lambda item: None)
            self.layout.pipeline_managers[name] = manager
        self._parser._addLayoutItems(self.layout, self.tenant, self._parsed, self._context, dynamic_layout=False)
        for error in [*self.layout.loading_errors.errors, *self._context.error_list]:
            text = f"{error.key.context}: {error.name}: {error.short_error or error.error}"
            (self.warnings if error.severity == model.SEVERITY_WARNING else self.errors).append(text)

    def check_tenant(self, entry: dict[str, object]) -> None:
        """Raise what Zuul would say of an entry of its tenant configuration."""
        self._parser.getSchema()(entry["tenant"])

    def job_names(self, project: str) -> tuple[str, ...]:
        """Names of the jobs that a project defines."""
        canonical = self.project(project).canonical_name
        return tuple(
            name for name, of in self.layout.jobs.items() if of[0].source_context and of[0].source_context.project_canonical_name == canonical
        )

    def abstract(self, name: str) -> bool:
        """Whether a job may only be a parent."""
        return bool(self.layout.getJob(name).abstract)

    def templates(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Template → pipeline → job names."""
        return {
            name: {pipeline: tuple(config.job_list.jobs) for pipeline, config in of[0].pipelines.items()}
            for name, of in self.layout.project_templates.items()
        }

    def freeze(self, project: str, pipeline: str, files: Sequence[str] | None, *, branch: str = "master") -> dict[str, Frozen]:
        """The jobs that run for a change of these files on a branch, or (None) for its tip.

        :raises Refused: Zuul reports a configuration error instead.
        """
        manager = self.layout.pipeline_managers[pipeline]
        change = _Change(self.project(project), branch, files=None if files is None else list(files), number=None if files is None else "1")
        build_set = types.SimpleNamespace(jobs={}, _old_jobs={}, fail_fast=None, debug_messages=[], getPath=lambda: "/none", _old_job_graph=None)
        build_set.jobs = model.JobMap({}) if hasattr(model, "JobMap") else {}
        log = logging.getLogger("zuul.test")
        item = types.SimpleNamespace(
            manager=manager,
            pipeline=manager.pipeline,
            changes=[change],
            debug=False,
            parameters={},
            current_build_set=build_set,
            annotateLogger=lambda logger: log,
            itemMatchesImage=lambda job: True,
            image_names=[],
            event=None,
        )
        item.updatesJobConfig = lambda job, of, layout: model.QueueItem.updatesJobConfig(item, job, of, layout)
        item.log = log
        item.getNonLiveItemsAhead = lambda: []
        try:
            result = self.layout.createJobGraph(LocalZKContext(log), item, None, False, True)
        except (model.JobConfigurationError, ConfigurationError) as error:
            raise Refused(str(error)) from error
        graph = result["job_graph"]
        return {job.name: _frozen(job) for job in graph.getJobs()}


def _frozen(job: object) -> Frozen:
    def paths(playbooks: Iterable[dict[str, object]]) -> tuple[str, ...]:
        return tuple(str(playbook["path"]) for playbook in playbooks)

    everything = [*job.pre_run, *job.run, *job.post_run]
    return Frozen(
        name=job.name,
        pre_run=paths(job.pre_run),
        run=paths(job.run),
        post_run=paths(job.post_run),
        cleanup=paths(playbook for playbook in job.post_run if playbook.get("cleanup")),
        dependencies=tuple(sorted((dependency.name, dependency.soft) for dependency in job.dependencies)),
        requires=frozenset(job.requires),
        provides=frozenset(job.provides),
        variables=dict(job.variables or {}),
        secrets=tuple(sorted({name for playbook in everything for name in playbook["secrets"]})),
        timeout=job.timeout,
        attempts=job.attempts,
        semaphores=tuple(semaphore.name for semaphore in job.semaphores),
        nodes=tuple(node.name for node in job.nodeset.getNodes()),
    )


def compile_re2(pattern: str) -> object:
    """Compile as Zuul does; raises ``re2.error``."""
    return re2.compile(pattern)


def merge_returned(known: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    """What Zuul's own ``zuul_return`` makes of two calls."""
    # The module needs Ansible only for the base class of its action; merging does not.
    stub = types.ModuleType("ansible.plugins.action")
    stub.ActionBase = object
    with mock.patch.dict(sys.modules, {"ansible": types.ModuleType("ansible"), "ansible.plugins": types.ModuleType("plugins"), stub.__name__: stub}):
        module = importlib.import_module("zuul.ansible.base.action.zuul_return")
    return module.merge_data(new, known)


def file_matcher(patterns: Sequence[str]) -> object:
    """Zuul's matcher for ``files``: ``.matches(change)``."""
    return change_matcher.MatchAnyFiles([change_matcher.FileMatcher(compile_re2(pattern)) for pattern in patterns])
