"""The demonstration that `scripts/demo` runs: a real server, a real load, real signals, and the account of it."""
