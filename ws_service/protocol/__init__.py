"""What this node's server offers to the app beyond ASGI."""

from typing import Final

# Scope extension: `close(code, reason)` at once, past what the transport still holds.
EXTENSION: Final = "notifiws.abandon"
# In the extensions of a socket that was closed for too many control frames.
FLOODED: Final = "notifiws.flooded"
# Scope extension of HTTP: `cut()` the connection, with what its transport still holds.
CUT: Final = "notifiws.cut"
