"""Fixed intervals of time, the integer cells on them, and the windows they add up to."""
