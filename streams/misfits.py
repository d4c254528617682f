"""What in dealpulse.yaml has not the form of a setting?  Each by its full name, with what to write."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

# What has the form, and how people call it.
_FORMS: dict[type[inspect.Type], tuple[tuple[type, ...], str]] = {
    inspect.NoneType: ((type(None),), "nothing"),
    inspect.BoolType: ((bool,), "switch; write true or false"),
    inspect.IntType: ((int,), "whole number; write one, such as 12"),
    inspect.FloatType: ((int, float), "number; write one, such as 0.5"),
    inspect.StrType: ((str,), "text; write one, in quotes if it looks like a number"),
    inspect.ListType: ((list,), "list; write [...], or lines that begin with -"),
    inspect.VarTupleType: ((list,), "list; write [...], or lines that begin with -"),
    inspect.DictType: ((dict,), "mapping; write lines of the form name: value"),
    inspect.StructType: ((dict,), "mapping; write lines of the form name: value"),
}
_ENDLESS = 1 << 63  # no number of a setting is as large, and msgspec takes no larger one


def misfits(node: Any, kind: inspect.Type, where: str = "") -> Iterator[str]:
    """Yield what does not fit, of a setting and all that is in it."""
    if isinstance(kind, inspect.AnyType):
        return
    if isinstance(kind, inspect.LiteralType):
        if node not in kind.values:
            yield f"{where}: unknown {reprlib.repr(node)}; known: {', '.join(map(str, kind.values))}"
        return
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    form = next((one for one in kinds if _has_form(node, one)), None)
    if form is None:
        said = "nothing" if node is None else reprlib.repr(node)
        yield f"{where}: {said} is no {_FORMS[type(kinds[0])][1]}"
    elif isinstance(form, inspect.StructType):
        yield from _of_struct(node, form, where)
    elif isinstance(form, inspect.DictType):
        for name, one in node.items():
            yield from misfits(one, form.value_type, f"{where}.{name}")
    elif isinstance(form, inspect.ListType | inspect.VarTupleType):
        for at, one in enumerate(node):
            yield from misfits(one, form.item_type, _place(where, at, one))


def _has_form(node: Any, kind: inspect.Type) -> bool:
    if isinstance(node, int) and abs(node) >= _ENDLESS:
        return False
    return isinstance(node, _FORMS[type(kind)][0]) and (isinstance(node, bool) is isinstance(kind, inspect.BoolType))


def _of_struct(node: dict[str, Any], kind: inspect.StructType, where: str) -> Iterator[str]:
    begin = f"{where}." if where else ""
    known = {field.name: field for field in kind.fields}
    for name, one in node.items():
        if name in known:
            yield from misfits(one, known[name].type, begin + name)
        else:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            yield f"dealpulse.yaml: unknown setting {begin}{name}; {hint}"
    for name, field in known.items():
        if field.required and name not in node:
            yield f"{begin}{name} is missing; write it"


def _place(where: str, at: int, node: Any) -> str:
    """Return how one of a list is called: by its name, if it has one."""
    name = node.get("name") if isinstance(node, dict) else None
    return f"{where}.{name}" if isinstance(name, str) and name else f"{where}[{at}]"
