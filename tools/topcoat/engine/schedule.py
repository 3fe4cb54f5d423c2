"""The order of work: which stage may start, and which of those goes first.

This module must never start anything; it is pure bookkeeping, used from one thread only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from topcoat.engine.task import Task

Node = tuple[str, int]
"""(task id, index of the stage); the index equal to the number of stages stands for "the whole task is done"."""


class Graph:
    """The stage-level graph of a run: who waits for whom, and the longest remaining path of each stage."""

    def __init__(self, tasks: Iterable[Task], pools: Mapping[str, int]) -> None:
        """:raises ValueError: duplicate id, unknown dependency, stage or pool, or a cycle (named)."""
        self.tasks: dict[str, Task] = {}
        for task in tasks:
            if task.id in self.tasks:
                raise ValueError(f"two tasks are called {task.id!r}")
            self.tasks[task.id] = task
        for name, limit in pools.items():
            if limit < 1:
                raise ValueError(f"pool {name!r} needs at least one slot, not {limit}")
        self.needs: dict[Node, tuple[Node, ...]] = {}
        for task in self.tasks.values():
            for index, stage in enumerate(task.stages):
                if stage.pool not in pools:
                    raise ValueError(f"stage {task.id}/{stage.name} wants the unknown pool {stage.pool!r}")
                named = stage.after | (task.dependencies if index == 0 else frozenset())
                self.needs[task.id, index] = tuple(sorted(self._node(task, reference) for reference in named))
            if not task.stages:
                self.needs[task.id, 0] = tuple(sorted(self._node(task, reference) for reference in task.dependencies))
        self.order = self._sorted()
        self.remaining = self._remaining()
        self.waiters: dict[str, list[str]] = {}
        for (task_id, _), nodes in self.needs.items():
            for other, _ in nodes:
                self.waiters.setdefault(other, []).append(task_id)

    def _node(self, task: Task, reference: str) -> Node:
        name, _, stage = reference.partition("/")
        other = self.tasks.get(name)
        if other is None:
            raise ValueError(f"task {task.id!r} depends on the unknown task {name!r}")
        if not stage:
            return name, len(other.stages)
        for index, candidate in enumerate(other.stages):
            if candidate.name == stage:
                return name, index
        raise ValueError(f"task {task.id!r} depends on the unknown stage {reference!r}")

    def _edges(self) -> dict[Node, list[Node]]:
        """Every node with the nodes that must be finished before it."""
        edges: dict[Node, list[Node]] = {}
        for task in self.tasks.values():
            for index in range(len(task.stages) + 1):
                before = list(self.needs.get((task.id, index), ()))
                if index:
                    before.append((task.id, index - 1))
                edges[task.id, index] = before
        return edges

    def _sorted(self) -> Sequence[Node]:
        """Topological order (Kahn); ties broken by the order in which tasks were given."""
        edges = self._edges()
        missing = {node: len(before) for node, before in edges.items()}
        after: dict[Node, list[Node]] = {node: [] for node in edges}
        for node, before in edges.items():
            for other in before:
                after[other].append(node)
        ready = [node for node, count in missing.items() if not count]
        order: list[Node] = []
        for node in ready:  # grows while we walk
            order.append(node)
            for waiter in after[node]:
                missing[waiter] -= 1
                if not missing[waiter]:
                    ready.append(waiter)
        if len(order) != len(edges):
            names = sorted({task for (task, _), count in missing.items() if count})
            raise ValueError(f"the tasks wait for each other in a circle: {', '.join(names)}")
        return order

    def _remaining(self) -> dict[Node, float]:
        edges = self._edges()
        remaining = dict.fromkeys(edges, 0.0)
        for node in reversed(self.order):
            task = self.tasks[node[0]]
            if node[1] < len(task.stages):
                remaining[node] += task.weight / len(task.stages)
            for before in edges[node]:
                remaining[before] = max(remaining[before], remaining[node])
        return remaining

    def dependencies_of(self, task: str) -> frozenset[str]:
        """Ids of the tasks that any stage of this one waits for."""
        stages = self.tasks[task].stages
        return frozenset(other for index in range(max(1, len(stages))) for other, _ in self.needs[task, index])

    def is_ancestor(self, ancestor: str, task: str) -> bool:
        """Whether the one is a direct or transitive dependency of the other."""
        seen = {task}
        queue = [task]
        while queue:
            for other in self.dependencies_of(queue.pop()):
                if other == ancestor:
                    return True
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        return False
