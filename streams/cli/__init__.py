"""How do people use dealpulse?  One file per command; `main` is the entry point."""
