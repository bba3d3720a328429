"""What /readyz says: the reasons for which a part is not ready, kept by whoever notices them."""

from collections.abc import Callable
from typing import TypedDict

from shared.codes import Unready, Warned


class Reason(TypedDict):
    """One entry of `reasons`. The message says what is wrong and what mends it."""

    code: str
    message: str


class Readiness:
    """The set of present reasons. Ready when there is none; `on_change` hears every change (for the log)."""

    def __init__(self, on_change: Callable[[Unready, str | None], None] | None = None) -> None:
        self._reasons: dict[Unready, str] = {Unready.STARTING: "the first connections are being made"}
        self._on_change = on_change
        self._warnings: dict[Warned, str] = {}

    def unready(self, code: Unready, message: str) -> None:
        """Something is wrong, until `clear(code)`."""
        known = self._reasons.get(code)
        self._reasons[code] = message
        if known is None and self._on_change:
            self._on_change(code, message)

    def clear(self, code: Unready) -> None:
        """That is over."""
        if self._reasons.pop(code, None) is not None and self._on_change:
            self._on_change(code, None)

    def warn(self, code: Warned, message: str | None) -> None:
        """Something that does not stand against serving, and somebody should look at; None: that is over."""
        if message is None:
            self._warnings.pop(code, None)
        else:
            self._warnings[code] = message

    @property
    def ready(self) -> bool:
        """Whether nothing stands against serving."""
        return not self._reasons

    @property
    def reasons(self) -> list[Reason]:
        """Present reasons, the oldest first."""
        return [{"code": str(code), "message": message} for code, message in self._reasons.items()]

    @property
    def warnings(self) -> list[Reason]:
        """What somebody should look at, the oldest first."""
        return [{"code": str(code), "message": message} for code, message in self._warnings.items()]

    def has(self, code: Unready) -> bool:
        """Whether this reason is present."""
        return code in self._reasons
