"""Replaces the binary of a running server without losing a request."""

__version__ = "0.1.0"
