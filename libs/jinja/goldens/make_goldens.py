#!/usr/bin/env python3
"""Writes cases.json of this folder: templates, variables, and what Python's jinja2 makes of them.

The environment is the one that transformers renders chat templates in. Needs jinja2 >= 3.1.6 only.
Usage: make_goldens.py
The templates of whole model families are the *.jinja files of that folder, with their conversations in
conversations.json; the small cases are in small_cases.json.
"""

import datetime
import json
import pathlib

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)


class Generation(Extension):
    """{% generation %}: renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def make_environment():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    environment.globals["namespace"] = Namespace
    environment.globals["dict"] = lambda *args, **kwargs: dict(*args, **kwargs)
    return environment


def render(environment, source, variables):
    """What the case expects: an output, or a failure and (from raise_exception) its message."""
    try:
        return {"output": environment.from_string(source).render(**variables)}
    except jinja2.TemplateError as error:
        exact = type(error) is jinja2.TemplateError
        return {"fails": True, "message": str(error)} if exact else {"fails": True}
    except Exception:  # Python's own errors: TypeError, ZeroDivisionError, ...
        return {"fails": True}


def main():
    folder = pathlib.Path(__file__).parent
    environment = make_environment()
    cases = []
    for case in json.loads((folder / "small_cases.json").read_text()):
        template, variables = (case, {}) if isinstance(case, str) else case
        cases.append({"template": template, "variables": variables, **render(environment, template, variables)})
    for name, conversations in json.loads((folder / "conversations.json").read_text()).items():
        source = (folder / name).read_text()
        for variables in conversations:
            cases.append({"file": name, "variables": variables, **render(environment, source, variables)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    (folder / "cases.json").write_text("[\n" + lines + "\n]\n")
    print(f"{len(cases)} cases, {sum('fails' in case for case in cases)} of them failures")


if __name__ == "__main__":
    main()
