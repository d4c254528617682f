"""How is dealpulse.yaml read?  As YAML 1.2; what would surprise, or is too much, is refused."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from streams.config import ConfigError, Definitions, definitions_from
from streams.environment import variable_of

_LARGEST_FILE = 4 << 20  # bytes
_MOST_MERGED = 1_000_000  # settings that << brings
_LONGEST_NUMBER = 1000  # bits; one of some thousand digits cannot even be shown


def read_definitions(path: str | Path | None) -> Definitions:
    """Read dealpulse.yaml; None gives the defaults.  Raises ConfigError."""
    return definitions_from(read_raw(path))


def read_raw(path: str | Path | None) -> Any:
    """Return what dealpulse.yaml says, read once, since it may be a pipe; None gives nothing.  Raises ConfigError."""
    if path is None:
        return {}
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ConfigError(f"config file {path} is larger than {_LARGEST_FILE:,} bytes; is it the right one?")
        raw = yaml.load(text.decode("utf-8"), _Loader)  # noqa: S506  # a safe one
    except OSError as error:
        raise ConfigError(f"config file {path}: {error.strerror}; set {variable_of('config')} to a readable file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"config file {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except RecursionError:
        raise ConfigError(f"config file {path} is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"config file {path} is not valid YAML: {error}") from None
    return {} if raw is None else raw


def text_of(raw: Any) -> str:
    """Return the text of a dealpulse.yaml that is read as `raw`."""
    return yaml.dump(raw, Dumper=_Dumper, allow_unicode=True, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Reads what YAML 1.2 calls the core schema: yes, off, 10:30, 010 and 2026-01-01 are text.

    A key is always the text that stands there.  One that stands twice in one mapping is refused: PyYAML would take the last.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  # as PyYAML declares it; filled below
    _merged = 0

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Return the next mapping, before anything is merged into it.  Raises YAMLError."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.tag != _MERGE:
                    key.tag = self.DEFAULT_SCALAR_TAG
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what << names into a mapping.  Raises YAMLError when merges of merges multiply."""
        for key, value in node.value:
            if key.tag == _MERGE:
                for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(one, yaml.MappingNode):
                        self.flatten_mapping(one)
                        self._merged += len(one.value)
            if self._merged > _MOST_MERGED:
                what = f"more than {_MOST_MERGED:,} settings are merged; do aliases (*) multiply?"
                raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        super().flatten_mapping(node)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """Return the text that stands there, with pairs of surrogates as one character: JSON, which is YAML, may write it so."""
        return super().construct_scalar(node).encode("utf-16", "surrogatepass").decode("utf-16")

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # PyYAML's signature
        """Return what a node stands for.  Raises YAMLError, also where PyYAML takes for granted what a tag (!!bool) promises."""
        try:
            found = super().construct_object(node, deep=deep)
            if not isinstance(found, int) or found.bit_length() <= _LONGEST_NUMBER:
                return found
        except (ValueError, LookupError, AttributeError):
            pass
        shown = reprlib.repr(node.value)
        raise yaml.constructor.ConstructorError(None, None, f"{shown} is no {node.tag.rpartition(':')[2]}", node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what the loader would not read as text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


_MERGE = "tag:yaml.org,2002:merge"
for _kind, _pattern, _begin in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9]\d*)|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(?:\.\d+|(?:0|[1-9]\d*)(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
    ("merge", "<<", ["<"]),
):
    for _first in _begin:
        _found = (f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})\\Z", re.ASCII))
        _Loader.yaml_implicit_resolvers.setdefault(_first, []).append(_found)
