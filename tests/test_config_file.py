"""Is dealpulse.yaml read as it stands there, and refused where nobody can say what it means?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.config import ConfigError
from streams.config_file import read_definitions, read_raw, text_of


def test_a_missing_file_says_what_to_set():
    """The path, and the variable to mend."""
    with pytest.raises(ConfigError, match="DEALPULSE_CONFIG"):
        read_definitions("/nowhere/dealpulse.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"currency: \xff\n", "is not UTF-8"),
        (b"business: {holidays: [2026-02-30]}\n", "business.holidays: '2026-02-30' is no date"),
        (b"- currency: EUR\n", "expected a mapping"),
        (b"[]\n", "expected a mapping"),
        (b"false\n", "expected a mapping"),
        (b"partitions: !!int x\n", "is not valid YAML"),
        (b'slack: {channel: "\\ud83d"}\n', "is not valid YAML: '\\ud83d' is no str"),
        (b"partitions: !!int ''\n", "is not valid YAML: '' is no int"),
        (b"bad_input: {stop: !!bool maybe}\n", "is not valid YAML: 'maybe' is no bool"),
        (b"currency: !!timestamp now\n", "is not valid YAML: 'now' is no timestamp"),
        (b"grace: 0x" + b"f" * 5000, "is not valid YAML: '0xffffffffff...fffffffffffff' is no int"),
        (b"partitions: " + b"9" * 5000, "is not valid YAML: '999999999999...9999999999999' is no int"),
        (b"a: [\n", "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text, sentence):
    """Whatever is in it."""
    (tmp_path / "dealpulse.yaml").write_bytes(text)
    with pytest.raises(ConfigError) as refused:
        read_definitions(tmp_path / "dealpulse.yaml")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text):
    """It says nothing."""
    (tmp_path / "dealpulse.yaml").write_text(text)
    assert read_definitions(tmp_path / "dealpulse.yaml") == read_definitions(None)


def test_dates_may_stand_there_as_people_write_them(tmp_path: Path):
    """With quotes and without."""
    (tmp_path / "dealpulse.yaml").write_text("business: {holidays: [2026-01-01, '2026-12-25']}\n")
    assert read_definitions(tmp_path / "dealpulse.yaml").business.holidays == ("2026-01-01", "2026-12-25")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("currency: EUR\ncurrency: USD\n", "'currency' stands there twice"),
        ("reps:\n  anna: {team: A}\n  anna: {team: B}\n", "'anna' stands there twice"),
        ("reps: &a {anna: *a}\n", "an alias (*) stands within what it names, or it is nested too deeply"),
        ("targets: &a [*a]\n", "an alias (*) stands within what it names"),
        ("targets: " + "[" * 1_000 + "]" * 1_000, "is nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n" for before, one in zip("abcdef", "bcdefg", strict=True)
        ), "more than 1,000,000 values; do aliases (*) multiply?"),
        ("a: &a {x: 1, y: 2}\n" + "".join(
            f"{one}: &{one} {{<<: [{','.join([f'*{before}'] * 10)}]}}\n" for before, one in zip("abcdef", "bcdefg", strict=True)
        ), "more than 1,000,000 settings are merged; do aliases (*) multiply?"),
        ("# " + "x" * (4 << 20), "is larger than 4,194,304 bytes"),
    ],
    ids=["key-twice", "rep-twice", "itself", "itself-in-a-list", "deep", "billion-laughs", "merged-laughs", "large"],
)  # fmt: skip
def test_a_file_that_says_too_much_is_refused(tmp_path, text, sentence):
    """In one sentence, and soon."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_definitions(file)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("true", True), ("False", False),
        ("10:30", "10:30"), ("9:00", "9:00"), ("1:30.5", "1:30.5"), ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"), ("010", "010"), ("007", "007"), ("-01", "-01"), ("08.5", "08.5"),
        ("1_000", "1_000"), ("0b1", "0b1"), ("0o17", 15), ("0x1F", 31), ("0", 0), ("-12", -12), ("+3", 3), ("0.5", 0.5),
        (".5", 0.5), ("1e3", 1000.0), ("-1.5E+2", -150.0), ("5.", 5.0), (".inf", float("inf")), ("null", None), ("~", None),
        ("", None), ("=", "="), ("'1'", "1"), ("\u0661", "\u0661"),
    ],
)  # fmt: skip
def test_values_are_read_as_yaml_1_2_reads_them(tmp_path, said, read):
    """And what begins with 0 as it stands there: an id is no number, and nobody writes an octal one."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text(f"a: {said}\n")
    found = read_raw(file)["a"]
    assert (found, type(found)) == (read, type(read))


def test_a_name_is_the_text_that_stands_there(tmp_path):
    """Whatever it looks like; quotes make no difference."""
    names = ["007", "7", "yes", "No", "1e3", "10:30", "2026-01-01", "null", "true", "0x1F", "1.50"]
    file = tmp_path / "dealpulse.yaml"
    file.write_text("reps:\n" + "".join(f"  {name}: {{}}\n" for name in names))
    assert list(read_definitions(file).reps) == names
    file.write_text("reps: {7: {}, '7': {}}\n")
    with pytest.raises(ConfigError, match="'7' stands there twice"):
        read_definitions(file)


@pytest.mark.parametrize(
    "text", ["1e3", "007", "yes", "0o17", "10:30", "2026-01-01", "null", "~", "", "<<", " a\n b", "\u2028"]
)
def test_what_is_written_is_read_back(tmp_path, text):
    """A replay's worker gets what its command has read."""
    raw = {"a": text, "b": {text: [1, 1.5, 1e17, True, None]}}
    file = tmp_path / "dealpulse.yaml"
    file.write_text(text_of(raw), encoding="utf-8")
    assert read_raw(file) == raw


def test_json_is_yaml(tmp_path):
    """It may be written by a program, which writes characters beyond the first 65,536 as two."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text(json.dumps({"reps": {"\U0001f600": {"team": "\U0001f600 A", "manager": "\u00e9"}}, "partitions": 3}))
    found = read_definitions(file)
    assert (found.partitions, *found.reps, found.reps["\U0001f600"].team) == (3, "\U0001f600", "\U0001f600 A")


def test_what_is_merged_may_be_said_otherwise(tmp_path):
    """A key of its own beside << is no repetition."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("reps:\n  anna: &one {team: A, region: EU}\n  boris: {<<: *one, team: B}\n  clara: {<<: *one}\n")
    reps = read_definitions(file).reps
    assert [(rep.team, rep.region) for rep in reps.values()] == [("A", "EU"), ("B", "EU"), ("A", "EU")]
