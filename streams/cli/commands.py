"""Which commands are there, and which exit code does an error become?"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from confluent_kafka import KafkaException

from streams.cli import audit, demo, dlq, doctor, kpis, rebuild, replay, rules, show, topics, worker
from streams.cli.exits import FAILED, INTERNAL, INTERRUPTED, USAGE
from streams.cli.settings import CheckError, broker_option, config_option
from streams.config import ConfigError
from streams.kafka.admin import AdminError
from streams.kafka.embedded import EmbeddedBrokerError


class Commands(click.Group):
    """A group whose commands end with one clear line and the right exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; --help and --version are printed here."""
        with _told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _told(ctx):
            return super().invoke(ctx)


@contextmanager
def _told(ctx: click.Context) -> Iterator[None]:
    """Turn what the block raises into a line on stderr and an exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except ConfigError as error:
        _end(ctx, USAGE, str(error))
    except (CheckError, AdminError, EmbeddedBrokerError) as error:
        _end(ctx, FAILED, str(error))
    except KafkaException as error:
        if _is_of_the_settings(error):
            _end(ctx, USAGE, f"{_in_words(error)}; mend the DEALPULSE_SASL_ and DEALPULSE_SSL_ settings")
        else:
            _end(ctx, FAILED, f"the broker says: {_in_words(error)}")
    except OSError as error:
        _end(ctx, FAILED, f"{error.filename or 'standard output'}: {error.strerror or error}")
    except (KeyboardInterrupt, click.Abort):
        _end(ctx, INTERRUPTED, "stopped")
    except Exception:  # noqa: BLE001  # a fault of ours: show all of it, and say so in the exit code
        traceback.print_exc()
        _end(ctx, INTERNAL, "internal error")


def _end(ctx: click.Context, code: int, sentence: str) -> NoReturn:
    click.echo(f"dealpulse: {sentence}", err=True)
    ctx.exit(code)


def _is_of_the_settings(error: KafkaException) -> bool:
    """Could the client not even be made, so that no broker was asked?"""
    return "Failed to create" in _in_words(error) or "configuration property" in _in_words(error)


def _in_words(error: KafkaException) -> str:
    found = error.args[0] if error.args else error
    return str(found.str()) if hasattr(found, "str") else str(found)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dealpulse", prog_name="dealpulse", message="%(prog)s %(version)s")
@broker_option
@config_option
def cli(broker: str | None, config_file: str | None) -> None:  # read by with_settings
    """CRM events in, exact real-time sales KPIs and alerts out."""


for command in (
    demo.command, worker.command, topics.group, replay.command, kpis.command, show.command,
    audit.command, rebuild.command, rules.group, dlq.group, doctor.command,
):  # fmt: skip
    cli.add_command(command)
