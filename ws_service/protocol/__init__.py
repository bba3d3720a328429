"""What this node's server offers to the app beyond ASGI."""

from typing import Final

# Scope extension: `close(code, reason)` at once, past what the transport still holds.
EXTENSION: Final = "notifiws.abandon"
# Scope extension of HTTP: `cut()` the connection, with what its transport still holds.
CUT: Final = "notifiws.cut"
