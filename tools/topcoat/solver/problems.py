"""Says in words why packages cannot be satisfied: which packages, which requirement, which repositories.

This module must never hide a part of the reason.
"""

from __future__ import annotations

from collections.abc import Iterable

import solv

from topcoat.solver.available import Offer

_MOST_LINES = 12


def describe(problems: Iterable[solv.Problem], offer: Offer) -> str:
    """One line for all problems; what nobody provides comes first, since it is the cause of the rest."""
    lines: list[tuple[int, str]] = []
    for problem in problems:
        for rule in problem.findallproblemrules():
            for info in rule.allinfos():
                line = (_rank(info.type), _line(info, offer))
                if line not in lines:
                    lines.append(line)
    lines.sort(key=lambda line: line[0])
    texts = [text for _, text in lines]
    more = f"; and {len(texts) - _MOST_LINES} more" if len(texts) > _MOST_LINES else ""
    return "; ".join(texts[:_MOST_LINES]) + more


def _rank(kind: int) -> int:
    if kind in (solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP, solv.Solver.SOLVER_RULE_PKG_NOT_INSTALLABLE):
        return 0
    return 2 if kind in (solv.Solver.SOLVER_RULE_BEST, solv.Solver.SOLVER_RULE_JOB, solv.Solver.SOLVER_RULE_UPDATE) else 1


def _line(info: solv.Ruleinfo, offer: Offer) -> str:
    origins = []
    for package in (info.solvable, info.othersolvable):
        if package is not None:
            owner = offer.owner(package.id) if not package.isinstalled() else None
            text = f"{package.name}: repository {owner.id}" if owner else f"{package.name}: installed"
            if text not in origins:
                origins.append(text)
    text = f"{info.problemstr()} ({', '.join(origins)})" if origins else info.problemstr()
    if info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
        hidden = offer.hidden(str(info.dep).partition(" ")[0])
        if hidden:
            named = ", ".join(f"{nevra} of {repository.id}" for nevra, repository in hidden[:3])
            text += f" [hidden by an include or exclude list, a module stream or the gating repository: {named}]"
    return text
