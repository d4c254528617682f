"""With which settings does a command run?  The environment, overridden by --broker and --config."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from streams import config
from streams.config_file import read_raw
from streams.environment import Environment, client_settings, read_environment, without_channel


@dataclass(frozen=True)
class Settings:
    """The environment and what dealpulse.yaml says; both already checked."""

    environment: Environment
    definitions: config.Definitions
    raw: dict[str, Any] = field(default_factory=dict)  # dealpulse.yaml as it was read

    @property
    def client(self) -> dict[str, Any]:
        """Return what every Kafka client needs."""
        return client_settings(self.environment)


class CheckError(Exception):
    """A check failed, or the outside world did; the text is for people.  Exit code 1."""


def read_settings(broker: str | None, config_file: str | None) -> Settings:
    """Read the environment and dealpulse.yaml; an option that is given wins.  Raises ConfigError."""
    environment = read_environment(broker=broker, config=config_file)
    raw = read_raw(environment.config)
    definitions = config.definitions_from(raw)
    problem = without_channel(environment, definitions)
    if problem:
        raise config.ConfigError(problem)
    return Settings(environment, definitions, raw)


broker_option = click.option(
    "--broker", metavar="URL", help="Broker, such as kafka://host:9092.  Overrides DEALPULSE_BROKER."
)
config_option = click.option(
    "--config", "config_file", metavar="FILE", help="dealpulse.yaml to use.  Overrides DEALPULSE_CONFIG."
)


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command --broker and --config of its own, and hand it both as they are in force."""

    @broker_option
    @config_option
    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, /, *, broker: str | None, config_file: str | None, **options: Any) -> Any:
        given = ctx.find_root().params
        return command(broker or given.get("broker"), config_file or given.get("config_file"), **options)

    return wrapped


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command --broker and --config of its own, and hand it `settings` as its first argument."""

    @with_options
    @functools.wraps(command)
    def wrapped(broker: str | None, config_file: str | None, **options: Any) -> Any:
        return command(read_settings(broker, config_file), **options)

    return wrapped
