"""What the embedded stack raises. The command line turns it into its own errors and exit codes."""


class StackError(Exception):
    """A part of the stack cannot do its work: what failed and why, and what mends it."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class InUse(StackError):
    """A port or a data directory belongs to somebody else."""


class ServerFailed(StackError):
    """An embedded server ended, or did not answer in time. The message carries the end of its log."""
