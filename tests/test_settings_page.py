"""Does the page of the settings say what there is?"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from streams.config import Definitions, Rule, definitions_from
from streams.state import HARMLESS

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w.]+)` \| ([^|]*) \| (yes|refused)? ?\|", PAGE, re.MULTILINE)
RULE_ROWS = re.findall(r"^\| `(\w+)` \|", PAGE.partition("A rule:")[2], re.MULTILINE)


def test_every_setting_is_on_the_page():
    """Those that are not used yet at its end."""
    named = {name.split(".")[0] for name, _, _ in ROWS}
    assert named | {"targets", "spend", "rates"} == set(Definitions.__struct_fields__)
    assert set(RULE_ROWS) == set(Rule.__struct_fields__)


def test_the_page_says_what_needs_a_rebuild():
    """As streams/state.py does."""
    assert {name.split(".")[0] for name, _, rebuild in ROWS if not rebuild} == HARMLESS - {"targets", "spend", "rates"}
    assert {name.split(".")[0] for name, _, rebuild in ROWS if rebuild} == set(Definitions.__struct_fields__) - HARMLESS


def test_the_defaults_on_the_page_are_the_defaults():
    """Said as settings, plain values change nothing."""
    plain = {name: value.strip("`") for name, value, _ in ROWS if re.fullmatch(r"`[\w.]+`", value) and "NAME" not in name}
    assert len(plain) > 10
    raw: dict = {}
    for name, value in plain.items():
        into, _, last = name.rpartition(".")
        (raw.setdefault(into, {}) if into else raw)[last] = yaml.safe_load(value)
    assert definitions_from(raw) == Definitions()
