"""This release's version: one place, the package's metadata."""

from importlib import metadata


def version() -> str:
    """Such as `0.2.0`."""
    return metadata.version("notifiws")
