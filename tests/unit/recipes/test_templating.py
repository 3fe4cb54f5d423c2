"""No expression of a template grows without a bound, whatever it multiplies."""

from __future__ import annotations

import unittest

from topcoat.recipes.templating import TemplateError, Templates

LONG = "'" + "x" * 2000 + "'"


def render(text: str) -> object:
    templates = Templates()
    return templates.render(text, lambda name: templates.missing(f"{name!r} is undefined"))


def doubled(sign: str) -> str:
    """A text that would be a million times as long in the end."""
    steps = "".join(f"{{% set {new} = {sign.join(old * 100)} %}}" for old, new in ("ab", "bc", "cd"))
    return f"{{% set a = {LONG} %}}{steps}{{{{ d }}}}"


class Bounds(unittest.TestCase):
    def test_what_would_fill_the_memory_is_refused(self) -> None:
        for text, words in (
            (f"{{{{ {LONG} | replace('', {LONG}) | replace('', {LONG}) }}}}", "not larger"),
            (f"{{{{ {LONG}.replace('', {LONG}).replace('', {LONG}) }}}}", "not larger"),
            (f"{{{{ {LONG} | join({LONG}) | join({LONG}) }}}}", "not larger"),
            (doubled("~"), "not larger"),
            (doubled("+"), "not larger"),
            ("{{ [1] | batch(1000000000, 0) | list }}", "not larger"),
            ("{{ [1] | slice(1000000000) | list }}", "not larger"),
            ("{{ [[1]] | tojson(1000000000) }}", "at most 16"),
            ("{{ [[1]] | to_json(indent=1000000000) }}", "at most 16"),
            ("{% for a in range(200) %}" * 3 + "x" * 2000 + "{% endfor %}" * 3, "becomes larger"),
        ):
            with self.subTest(text[:60]), self.assertRaisesRegex(TemplateError, words):
                render(text)

    def test_what_stays_small_is_as_in_ansible(self) -> None:
        for text, expected in (
            ("{{ 'a-b-a' | replace('a', 'cc') }}", "cc-b-cc"),
            ("{{ 'a-b-a' | replace('a', 'c', 1) }}", "c-b-a"),
            ("{{ 'a-b'.replace('-', '+') }}", "a+b"),
            ("{{ [1, 2] | join(', ') }} {{ 'abc' | join('-') }}", "1, 2 a-b-c"),
            ("{{ [{'n': 'a'}, {'n': 'b'}] | join('/', attribute='n') }}", "a/b"),
            ("{{ 'a' ~ 1 ~ none }}", "a1None"),
            ("{{ [1] + [2] }}", [1, 2]),
            ("{{ 1000000000 + 1 }}", "1000000001"),
            ("{{ 'a' + 'b' }}", "ab"),
            ("{{ [1, 2, 3] | batch(2) | list }}", [[1, 2], [3]]),
            ("{{ [1, 2, 3] | slice(2) | list }}", [[1, 2], [3]]),
            ("{{ {'b': [1]} | tojson(1) }}", '{\n "b": [\n  1\n ]\n}'),
            ("{{ {'b': [1], 'a': 2} | to_json(sort_keys=true) }}", '{"a": 2, "b": [1]}'),
        ):
            with self.subTest(text):
                self.assertEqual(expected, render(text))
