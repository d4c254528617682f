"""With which code does a command end?  0 when all is fine."""

FAILED = 1  # a check, or the outside world
USAGE = 2  # or the configuration
INTERNAL = 70  # an error of ours, or a worker that lost its place
INTERRUPTED = 130  # by Ctrl-C
