"""The library's tables of options and targets, and signatures made of them."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, Callable, Dict, List, Sequence

from expertile import _core

_TYPES = {"integer": "int", "yes or no": "bool", "text": "str", "texts": "list[str]"}


def options() -> Dict[str, _core.Option]:
    """Every compile option by name: type, values, default, help, the targets that honour it."""
    return {row.name: row for row in _core.option_table()}


def targets() -> List[_core.Target]:
    return _core.targets()


def annotation(row: _core.Option) -> str:
    name = _TYPES[row.type]
    if "auto" in row.values:
        name += ' | Literal["auto"]'
    return f"{name} | None" if row.is_optional else name


def describe(row: _core.Option) -> str:
    """A line of a docstring: "ctx_len (int | None): Positions of a sequence. 1 to …; default …"."""
    text = f"{row.name} ({annotation(row)}): {row.help}."
    if row.values and row.type != "yes or no":
        text += f" {row.values[0].upper()}{row.values[1:]}."
    if row.default_text:
        text += f" Default: {row.default_text}."
    targets_ = row.honoured_by
    if len(targets_) < len(targets()):
        text += f" Targets: {', '.join(targets_)}."
    return text


def with_options(function: Callable[..., Any], extra: Sequence[inspect.Parameter], notes: Sequence[str]) -> None:
    """Gives `function`, whose last parameter is **options, the signature and docstring that the table has for it."""
    parameters = list(inspect.signature(function).parameters.values())
    named = {parameter.name for parameter in parameters}
    kept = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    rows = [row for row in options().values() if row.name not in named]
    kept += [inspect.Parameter(row.name, kind, default=row.default, annotation=annotation(row)) for row in rows]
    taken = {parameter.name for parameter in kept}
    kept += [parameter for parameter in extra if parameter.name not in taken]
    function.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    lines = [describe(row) for row in rows] + list(notes)
    body = "\n".join(textwrap.fill(line, 100, initial_indent="    ", subsequent_indent="        ") for line in lines)
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nArgs:\n{body}\n"
