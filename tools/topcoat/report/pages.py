"""What every page of ours shares: one environment for templates, one head with its policy, one style, and which addresses may become links.

This module must never let a template put a word into a page unescaped.
"""

from __future__ import annotations

import functools
from importlib import resources

import jinja2
from markupsafe import Markup

from topcoat import version
from topcoat.model import moments
from topcoat.report.console import clean


def safe_url(value: object) -> str:
    """The value when it is an http(s) URL without blanks or control characters, else an empty string: nothing else becomes a link."""
    text = str(value or "")
    ordinary = text == clean(text) and not any(character.isspace() for character in text)
    return text if ordinary and text.lower().startswith(("https://", "http://")) else ""


@functools.cache
def _style(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text("utf-8"))


def environment(*styles: str) -> jinja2.Environment:
    """A new environment over the templates of this room; everything is escaped.

    :param styles: further style sheets of this room, beside the one that all pages have.
    """
    found = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=jinja2.PackageLoader("topcoat.report", ".")
    )
    found.filters.update(
        clean=clean,
        link=safe_url,
        day=moments.day,
        minute=moments.minute,
        moment=moments.second,
    )
    found.globals.update(css=Markup("").join(map(_style, ("page.css", *styles))), version=version())
    return found
