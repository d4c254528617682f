"""Which events does the compose file feed?  Those of `dealpulse demo`, as JSON lines for `dealpulse replay`.

python deploy/feed.py | dealpulse replay - --speed max
python deploy/feed.py --definitions > deploy/dealpulse.yaml
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import orjson
import yaml

from streams.cli.sample import definitions, sample

HEAD = """\
# What the numbers mean, for the sample events of `docker compose --profile feed up`.
# Replace it by your own stages, teams and rules.  Written by: python deploy/feed.py --definitions
"""


def lines() -> list[bytes]:
    """Return one line for each event, in order of time, up to the present."""
    records = sample(datetime.now(UTC), as_recorded=False).records
    return [orjson.dumps({"topic": one.topic, "value": orjson.Fragment(one.value)}) for one in records]


def settings() -> str:
    """Return the text of dealpulse.yaml."""
    return HEAD + yaml.safe_dump(definitions(), sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    if sys.argv[1:] == ["--definitions"]:
        sys.stdout.write(settings())
    else:
        sys.stdout.buffer.writelines(line + b"\n" for line in lines())
