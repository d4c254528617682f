"""What did the operator ask for?  dealpulse.yaml and the environment, as frozen settings.

This is the only file that reads the environment.  Everything is checked at start: an unknown key, a
wrong type or an impossible value raises `ConfigError`, whose text names the setting and the remedy.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Container, Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import msgspec.inspect
import yaml

from streams import limits
from streams.events.currencies import MINOR_DIGITS
from streams.kpis.catalogue import BY_ID as KPI_IDS
from streams.misfits import misfits

ENV_PREFIX = "DEALPULSE_"

Spans = tuple[tuple[int, int], ...]  # [begin, end)

LEAD, OPEN, WON, LOST = "lead", "open", "won", "lost"
StageKind = Literal["lead", "open", "won", "lost"]

CUTS = ("all", "pipeline", "stage", "team", "rep", "rep_stage", "product", "region", "lead_source", "customer")
WINDOWS = ("1h", "24h", "7d", "28d", "90d", "day", "week", "month", "quarter", "year", "all")
# While events keep coming, this many publish_intervals lie at least between two records of a key: the wider a window, the
# less one event is in it, and a record of it costs as much as one of an hour.
PACE = {
    "now": 5, "1h": 5, "24h": 30, "day": 30, "7d": 60, "week": 60,
    "28d": 120, "month": 120, "90d": 180, "quarter": 180, "year": 300, "all": 300,
}  # fmt: skip


_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ConfigError(Exception):
    """A setting is wrong; the text says which one and what to do."""


# ------------------------------------------------------------------ shapes of dealpulse.yaml


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configured stage; its place in the list is its rank (lost stages have none)."""

    name: str
    kind: StageKind = "open"
    qualified: bool = False
    opportunity: bool = False
    meeting: bool = False
    proposal: bool = False
    limit_days: float | None = None
    probability: float | None = None


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stages in order, and after how many days a cohort's outcome counts as known."""

    stages: tuple[Stage, ...]
    maturity_days: int = 28


class Rep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a rep belongs at present."""

    team: str | None = None
    manager: str | None = None
    region: str | None = None


class Business(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business calendar: days begin and office hours run in this zone."""

    zone: str = "UTC"
    hours: str | None = None
    holidays: tuple[str, ...] = ()


class Sla(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Promises; durations in seconds."""

    first_response: float = 3600.0


class BadInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the share of rejected records says that the deployment is wrong, not the data."""

    share: float = 0.2
    of_last: int = 1000
    at_least: int = 200
    stop: bool = True


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert rule: a sequential test on the matured panes of one KPI and cut."""

    name: str
    kind: Literal["conversion_drop", "response_rise"]
    cut: str
    budget_days: int = 365
    baseline: float | None = None
    min_entries: int = 300  # to learn the baseline from
    min_events: int = 20  # since the change began, to speak of it


class Slack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Slack messages go; the token and the webhook URL come from the environment only."""

    channel: str | None = None
    catch_up_limit: float = 2 * 86400.0


DEFAULT_PIPELINES = {
    "default": Pipeline(
        stages=(
            Stage("New", "lead"),
            Stage("Qualified", "open", qualified=True, opportunity=True),
            Stage("Meeting", "open", meeting=True),
            Stage("Proposal", "open", proposal=True, limit_days=14, probability=0.4),
            Stage("Won", "won"),
            Stage("Lost", "lost"),
        )
    )
}
DEFAULT_RULES = (
    Rule("conversion-drop", "conversion_drop", "stage"),
    Rule("response-rise", "response_rise", "team"),
)


class Definitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a number's meaning depends on: dealpulse.yaml.  Durations in seconds."""

    currency: str = "EUR"
    business: Business = Business()
    pipelines: dict[str, Pipeline] = msgspec.field(default_factory=lambda: dict(DEFAULT_PIPELINES))
    reps: dict[str, Rep] = {}
    sla: Sla = Sla()
    windows: tuple[str, ...] = WINDOWS
    cuts: tuple[str, ...] = CUTS
    kpis: dict[str, bool] = {}
    rules: tuple[Rule, ...] = DEFAULT_RULES
    slack: Slack = Slack()
    grace: float = 3600.0
    publish_interval: float = 1.0
    pace: dict[str, float] = {}
    flush_interval: float | None = None
    tick_interval: float = 5.0
    max_future: float = 300.0
    partitions: int = 12
    replication: int = 1
    bad_input: BadInput = BadInput()
    targets: list[Any] | dict[str, Any] = []
    spend: list[Any] | dict[str, Any] = []
    rates: dict[str, Any] = {}

    @property
    def flush_every(self) -> float:
        """Return how many seconds lie at least between two flushes of new events when little arrives.

        Without a word it is two publish_intervals, but no longer than the shortest pace: in a steady flow nobody is told more often.
        """
        return min(2 * self.publish_interval, self.shortest_pace) if self.flush_interval is None else self.flush_interval

    def told_every(self, window: str) -> float:
        """Return how many seconds lie at least between two records of a key of this window while events keep coming."""
        return self.publish_interval * self.pace.get(window, PACE[window])

    @property
    def shortest_pace(self) -> float:
        """Return how many seconds lie at least between two times that an entity is told; "now" stands for the levels."""
        return min(self.told_every(window) for window in ("now", *self.windows))

    @property
    def zone(self) -> ZoneInfo:
        """Return the business zone."""
        return ZoneInfo(self.business.zone)


_DURATIONS = {
    "grace",
    "publish_interval",
    "flush_interval",
    "tick_interval",
    "max_future",
    "sla.first_response",
    "slack.catch_up_limit",
}
_ENDLESS = 1e15  # seconds; nothing that is meant, and more than a float need hold
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(text: str | float, setting: str) -> float:
    """Read a duration such as 100ms, 5m, 1h or 14d; a bare number is seconds."""
    if isinstance(text, (int, float)) and not isinstance(text, bool) and abs(text) < _ENDLESS:
        return float(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)\s*", str(text))
    if not found:
        raise ConfigError(f"{setting}: {text!r} is no duration; write for example 30s, 5m, 1h or 14d")
    return float(found[1]) * _UNITS[found[2]]


_LARGEST_FILE = 4 << 20  # bytes
_MOST_VALUES = 1_000_000  # with what aliases stand for


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
        raise ConfigError(f"config file {path}: {error.strerror}; set {ENV_PREFIX}CONFIG to a readable file") from None
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
    """Reads what YAML 1.2 calls the core schema: yes, off, 10:30 and 2026-01-01 are text, as are numbers that begin with 0.

    A key is always the text that stands there.  One that stands twice in one mapping is refused: PyYAML would take the last.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  # as PyYAML declares it; filled below

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


def definitions_from(raw: object) -> Definitions:
    """Turn the parsed YAML into checked settings.  Raises ConfigError."""
    if not isinstance(raw, dict):
        raise ConfigError("dealpulse.yaml: expected a mapping of settings at the top level")
    try:
        said = _plain(_durations(raw), [_MOST_VALUES])
    except RecursionError:
        raise ConfigError("dealpulse.yaml: an alias (*) stands within what it names, or it is nested too deeply") from None
    for sentence in misfits(said, msgspec.inspect.type_info(Definitions)):
        raise ConfigError(sentence)
    found = msgspec.convert(said, Definitions)
    if "rules" not in said:  # nobody asked for these: those that have nothing to judge here are not in force
        found = msgspec.structs.replace(found, rules=tuple(rule for rule in found.rules if limits.can_fire(rule, found)))
    return check(found)


def _plain(node: Any, left: list[int]) -> Any:
    """Turn keys, and what is of a type of its own, into text; `left` counts down the values that there may be."""
    left[0] -= 1
    if left[0] < 0:
        raise ConfigError(f"dealpulse.yaml: more than {_MOST_VALUES:,} values; do aliases (*) multiply?")
    if isinstance(node, dict):
        return {str(key): _plain(value, left) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value, left) for value in node]
    return node if node is None or isinstance(node, (str, int, float, bool)) else str(node)


def _durations(raw: dict[str, Any]) -> dict[str, Any]:
    out = dict(raw)
    for setting in _DURATIONS:
        head, _, tail = setting.partition(".")
        if tail and isinstance(out.get(head), dict) and tail in out[head]:
            out[head] = {**out[head], tail: seconds(out[head][tail], setting)}
        elif not tail and head in out:
            out[head] = seconds(out[head], setting)
    return out


def check(found: Definitions) -> Definitions:
    """Refuse settings that parse but cannot work.  Raises ConfigError."""
    if not re.fullmatch(r"[A-Z]{3}", found.currency):
        raise ConfigError(f"currency: {found.currency!r} is no ISO 4217 code; write for example EUR")
    if found.currency not in MINOR_DIGITS:
        raise ConfigError(f"currency: {found.currency!r} is no active ISO 4217 code; write for example EUR")
    if found.business.zone not in _zones():
        raise ConfigError(f"business.zone: {found.business.zone!r} is no IANA time zone; write for example Europe/Kyiv")
    _check_calendar(found.business)
    for name in found.kpis:
        if name not in KPI_IDS:
            near = difflib.get_close_matches(name, KPI_IDS, n=1)
            raise ConfigError(f"kpis: unknown {name!r}; " + (f"did you mean {near[0]!r}?" if near else "see dealpulse kpis"))
    for setting, values, known in (
        ("windows", found.windows, WINDOWS),
        ("pace", found.pace, (*PACE,)),
        ("cuts", found.cuts, CUTS),
    ):
        for value in values:
            if value not in known:
                raise ConfigError(f"{setting}: unknown {value!r}; known: {', '.join(known)}")
    for rule in found.rules:
        if rule.cut not in CUTS:
            raise ConfigError(f"rules.{rule.name}.cut: unknown {rule.cut!r}; known: {', '.join(CUTS)}")
    for sentence in limits.impossible(found):
        raise ConfigError(sentence)
    return found


@functools.cache
def _zones() -> set[str]:
    """Return the names of the IANA list, for which its folders are walked."""
    return available_timezones()


def parse_hours(text: str) -> dict[int, Spans]:
    """Read "Mon-Fri 09:00-13:00, Mon-Thu 14:00-18:00" as minutes of each opening by weekday (Monday 0).  Raises ValueError."""
    weekly: dict[int, Spans] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z]{3})(?:-([A-Za-z]{3}))?\s+(\d\d):(\d\d)-(\d\d):(\d\d)\s*", part)
        if not found:
            raise ValueError(f"{part.strip()!r} is no office time; write for example Mon-Fri 09:00-18:00")
        days = [found[1].lower(), (found[2] or found[1]).lower()]
        if not set(days) <= set(_WEEKDAYS):
            raise ValueError(f"{part.strip()!r}: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
        first, last = map(_WEEKDAYS.index, days)
        opens, closes = int(found[3]) * 60 + int(found[4]), int(found[5]) * 60 + int(found[6])
        if not 0 <= opens < closes <= 24 * 60 or max(int(found[4]), int(found[6])) > 59:
            raise ValueError(f"{part.strip()!r}: closing must come after opening, within one day")
        for step in range((last - first) % 7 + 1):
            day = (first + step) % 7
            spans = weekly[day] = (*weekly.get(day, ()), (opens, closes))
            if any(before[1] > after[0] for before, after in pairwise(sorted(spans))):
                raise ValueError(f"{part.strip()!r}: {_WEEKDAYS[day].title()} is open at that time already")
    return weekly


def _check_calendar(business: Business) -> None:
    if business.hours is not None:
        try:
            parse_hours(business.hours)
        except ValueError as error:
            raise ConfigError(f"business.hours: {error}") from None
    for holiday in business.holidays:
        try:
            date.fromisoformat(holiday)
        except ValueError:
            raise ConfigError(f"business.holidays: {holiday!r} is no date; write for example 2026-01-01") from None


# ------------------------------------------------------------------ the environment


class Secret(str):
    """A string that does not show itself in logs and errors."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Environment(msgspec.Struct, frozen=True):
    """How this installation runs: every DEALPULSE_ variable, in the order that doctor lists them."""

    broker: str = "kafka://127.0.0.1:9092"
    app_id: str = "dealpulse"
    config: str | None = None
    slot: str | None = None
    web_host: str = "127.0.0.1"
    web_port: int = 0
    watchdog: int = 60  # seconds without progress after which a worker ends itself; 0 = never
    ready_lag: int = 10_000  # records that may wait while readiness says yes
    log_level: str = "WARNING"
    slack_token: Secret | None = None
    slack_webhook: Secret | None = None
    slack_channel: str | None = None
    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None


# Below 30 s a rebalance, which may take 20, would look like a stuck worker.
_NUMBERS: dict[str, tuple[Container[int], str]] = {
    "web_port": (range(65536), "port; write a number from 0 (any free one) to 65535"),
    "watchdog": ({0, *range(30, 86_401)}, "limit; write seconds from 30 to 86400, or 0 to switch the watchdog off"),
    "ready_lag": (range(1 << 40), "number of records; write for example 10000"),
}
_SECRETS = {"slack_token", "slack_webhook", "sasl_password"}
# Of SASL what a user and a password are enough for: the others want settings that are not here.
_CHOICES: dict[str, tuple[str, ...]] = {
    "log_level": ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"),
    "security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
}
_FILES = {"ssl_ca_location", "ssl_certificate_location", "ssl_key_location"}
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_VISIBLE = re.compile(r"[!-~]+")  # ASCII without space and control characters
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_FOR_SASL = {
    "sasl_mechanism": f"write one of {', '.join(_CHOICES['sasl_mechanism'])}",
    "sasl_username": "write the user",
    "sasl_password": "write the password, or name its file in DEALPULSE_SASL_PASSWORD_FILE",
}


class Said(NamedTuple):
    """What one variable says, where that came from, and what is wrong with it."""

    text: str | None
    source: Literal["default", "environment", "file", "option"]
    problem: str | None = None


def variable_of(name: str) -> str:
    """Return the variable of a field of the environment."""
    return ENV_PREFIX + name.upper()


def read_environment(environ: Mapping[str, str] | None = None, **options: str | None) -> Environment:
    """Read every DEALPULSE_ variable; a secret may come from a file named by NAME_FILE, an option that is given wins.

    Raises ConfigError.
    """
    said = variables(environ, **options)
    for problem in problems(said):
        raise ConfigError(problem)
    return environment_from(said)


def variables(environ: Mapping[str, str] | None = None, **options: str | None) -> dict[str, Said]:
    """Return what every variable says, also what is wrong, in the order of the fields."""
    environ = os.environ if environ is None else environ
    found = {}
    for field in msgspec.structs.fields(Environment):
        one = Said(options[field.name], "option") if options.get(field.name) else _said(environ, field.name)
        if field.name == "broker" and "@" in (one.text or ""):
            one = one._replace(text=Secret(one.text))  # it holds a password
        if one.text is None and one.problem is None:
            one = Said(None if field.default is None else str(field.default), "default")
        found[field.name] = one if one.problem else one._replace(problem=_wrong(field.name, one.text))
    return found


def problems(said: Mapping[str, Said]) -> list[str]:
    """Return what is wrong with the variables, a sentence each."""
    found = [one.problem for one in said.values() if one.problem]
    protocol = (said["security_protocol"].text or "").upper()
    if protocol.startswith("SASL_"):
        found += [
            f"{variable_of(name)} is missing, and {variable_of('security_protocol')} is {protocol}; {remedy}"
            for name, remedy in _FOR_SASL.items()
            if said[name] == Said(None, "default")
        ]
    return found


def environment_from(said: Mapping[str, Said]) -> Environment:
    """Return the environment that the variables describe, none of which is wrong."""
    found: dict[str, Any] = {}
    for name, (text, source, _) in said.items():
        if source != "default" and text is not None:
            found[name] = int(text) if name in _NUMBERS else text.upper() if name in _CHOICES else text
    return Environment(**found)


def _said(environ: Mapping[str, str], name: str) -> Said:
    variable = variable_of(name)
    text, path = environ.get(variable) or None, environ.get(variable + "_FILE")
    if name not in _SECRETS:
        return Said(text, "environment")
    if not path:
        return Said(None if text is None else Secret(text), "environment")
    if text:
        return Said(None, "file", f"{variable} and {variable}_FILE are both set; keep one of them")
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        return Said(None, "file", f"{variable}_FILE: cannot read {path}: {error.strerror}")
    except UnicodeDecodeError:
        return Said(None, "file", f"{variable}_FILE: {path} is not UTF-8; write the secret alone into it, as text")
    return Said(Secret(secret), "file", None if secret else f"{variable}_FILE: {path} is empty; write the secret into it")


def _wrong(name: str, text: str | None) -> str | None:
    """Return what is wrong with the text of a variable."""
    if text is None:
        return None
    if name in _NUMBERS:
        allowed, what = _NUMBERS[name]
        is_number = text.isascii() and text.isdigit()  # a raised 2 is a digit as well
        return None if is_number and int(text) in allowed else f"{variable_of(name)}: {text!r} is no {what}"
    if name in _CHOICES and text.upper() not in _CHOICES[name]:
        return f"{variable_of(name)}: {text!r} is not known; write one of {', '.join(_CHOICES[name])}"
    if name in _FILES:
        return _unreadable(name, text)
    if name == "slack_webhook" and not _is_webhook(text):
        return (
            f"{variable_of(name)}: this is no address of a webhook; write it as Slack shows it, https://hooks.slack.com/..."
        )
    if name == "slack_token" and not _VISIBLE.fullmatch(text):
        return f"{variable_of(name)}: this is no token; write it alone, without space or line break"
    if name == "app_id" and not _APP_ID.fullmatch(text):
        return f"{variable_of(name)}: {text!r} cannot begin the name of a topic; write letters, digits, '.', '_' and '-'"
    return _no_broker(text) if name == "broker" else None


def _is_webhook(url: str) -> bool:
    """Is it https, or http to this machine, with a host that can be looked up?"""
    try:
        found = urlsplit(url)
        host = found.hostname or ""
        is_address = _VISIBLE.fullmatch(url) and host.encode("idna") and found.port != 0
    except ValueError:  # a port that is no number, a bracket too few, a name too long for DNS
        return False
    return bool(is_address) and (found.scheme == "https" or (found.scheme == "http" and host in _THIS_MACHINE))


def _no_broker(url: str) -> str | None:
    try:
        _hosts(url)
    except ConfigError as error:
        return str(error)
    return None


def _unreadable(name: str, path: str) -> str | None:
    if name == "ssl_ca_location" and (path == "probe" or Path(path).is_dir()):  # librdkafka knows both
        return None
    try:
        Path(path).open("rb").close()
    except OSError as error:
        return f"{variable_of(name)}: cannot read {path}: {error.strerror}"
    return None


def without_channel(environment: Environment, definitions: Definitions) -> str | None:
    """Return what is wrong when a bot token is there and nowhere to post, so that alerts would go to the log only."""
    if not environment.slack_token or environment.slack_webhook or environment.slack_channel or definitions.slack.channel:
        return None
    token, channel = variable_of("slack_token"), variable_of("slack_channel")
    return f"{channel} is missing, and {token} is set: a bot posts to a channel; set it, or slack.channel in dealpulse.yaml"


def bootstrap(environment: Environment) -> str:
    """Return host:port[,host:port] of the broker URL.  Raises ConfigError."""
    return _hosts(environment.broker)


def _hosts(url: str) -> str:
    if "@" in url:
        names = " and ".join(variable_of(name) for name in ("sasl_username", "sasl_password"))
        raise ConfigError(
            f"{ENV_PREFIX}BROKER: a user or password does not belong into the address; write them into {names}"
        )
    scheme, mark, rest = url.partition("://")
    if mark and scheme not in ("kafka", "dealpulse"):
        raise ConfigError(f"{ENV_PREFIX}BROKER: {url!r} has an unknown scheme; write kafka://host:9092")
    hosts = (rest if mark else url).rstrip("/")
    for host in hosts.split(","):
        if not re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):\d{1,5}", host.strip()):
            raise ConfigError(f"{ENV_PREFIX}BROKER: {url!r} is no broker address; write kafka://host:9092")
    return hosts


def client_settings(environment: Environment) -> dict[str, Any]:
    """Return what every librdkafka client needs: addresses and, where set, TLS and SASL."""
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap(environment)}
    for name in Environment.__struct_fields__:
        if name.startswith(("security_", "sasl_", "ssl_")) and getattr(environment, name) is not None:
            settings[name.replace("_", ".")] = str(getattr(environment, name))
    return settings
