"""Is it really worse?  Sequential tests on matured cohorts, and what they decide."""
