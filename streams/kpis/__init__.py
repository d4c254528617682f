"""What are the numbers?  Deltas added to panes, panes to windows, windows to KPI records."""
