"""How does this installation run?  Every DEALPULSE_ variable, checked; this is the only file that reads the environment."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from streams.config import ConfigError, Definitions

ENV_PREFIX = "DEALPULSE_"


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
_LONGEST_NUMBER = 100  # digits; of some thousands Python makes no number
SECRETS = {"slack_token", "slack_webhook", "sasl_password"}
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

_USING = {"sasl_": "SASL_SSL or SASL_PLAINTEXT", "ssl_": "SSL or SASL_SSL"}


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
    for begin, uses_it in (("sasl_", protocol.startswith("SASL_")), ("ssl_", protocol.endswith("SSL"))):
        found += [
            f"{variable_of(name)} is set, and {variable_of('security_protocol')}, which is {protocol or 'not'}, makes no use of it; "
            f"set {variable_of('security_protocol')} to {_USING[begin]}, or take {variable_of(name)} out"
            for name, one in said.items()
            if name.startswith(begin) and not uses_it and one.source != "default"
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
    if name not in SECRETS:
        return Said(text, "environment")
    if not path:
        return Said(None if text is None else Secret(text), "environment")
    if text:
        return Said(None, "file", f"{variable} and {variable}_FILE are both set; keep one of them")
    try:
        secret = Path(path).read_text(encoding="utf-8-sig").strip()  # a byte order mark is no part of a password
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
        is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER  # a raised 2 is a digit as well
        return None if is_number and int(text) in allowed else f"{variable_of(name)}: {reprlib.repr(text)} is no {what}"
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
        found = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):([0-9]{1,5})", host.strip())
        if found is None or not 0 < int(found[1]) < 65536:  # librdkafka takes 65537 for 1
            raise ConfigError(f"{ENV_PREFIX}BROKER: {url!r} is no broker address; write kafka://host:9092")
    return hosts


def client_settings(environment: Environment) -> dict[str, Any]:
    """Return what every librdkafka client needs: addresses and, where set, TLS and SASL."""
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap(environment)}
    for name in Environment.__struct_fields__:
        if name.startswith(("security_", "sasl_", "ssl_")) and getattr(environment, name) is not None:
            settings[name.replace("_", ".")] = str(getattr(environment, name))
    return settings
