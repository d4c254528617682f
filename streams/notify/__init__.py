"""Who hears of it?  Alert events in, messages out: Slack where it is configured, else the log."""
