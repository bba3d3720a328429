"""Settings as a service here would read them, and who may come in by them."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from notifiws.doctor.facts import Facts, Service
from notifiws.doctor.finding import Found, Severity, check
from shared.settings import LOOPBACK

# RFC 7518: a key at least as long as the hash that it feeds.
SECRET_BYTES: Final = 32


def _reachable(service: Service) -> bool:
    return urlsplit(service.url).hostname not in LOOPBACK


@check(
    Severity.ERROR,
    mend="NOTIFIWS_AUTH=jwt with a key, or NOTIFIWS_HOST=127.0.0.1",
)
def auth_open(facts: Facts) -> Iterator[Found]:
    """whoever reaches the port reads every channel and its history."""
    if facts.local.auth == "none" and not facts.local.on_loopback:
        yield Found(f"NOTIFIWS_AUTH is none, and NOTIFIWS_HOST {facts.local.host} is reachable by others")
    for service in facts.services or ():
        if service.open and _reachable(service):
            yield Found(f"{service.name} lists its channels to anybody, and is reachable by others")
        elif service.open and facts.local.auth == "jwt":
            yield Found(f"{service.name} lists its channels to anybody, although NOTIFIWS_AUTH is jwt here")


@check(
    Severity.WARNING,
    mend="NOTIFIWS_AUTH=jwt with a key, before others can reach it",
)
def auth_none(facts: Facts) -> Iterator[Found]:
    """every process and account of this machine reads every channel and its history."""
    open_here = any(service.open and not _reachable(service) for service in facts.services or ())
    if facts.local.auth != "jwt" and facts.local.on_loopback and (open_here or facts.local.auth == "none"):
        yield Found("NOTIFIWS_AUTH is none, on loopback")


@check(
    Severity.WARNING,
    mend="NOTIFIWS_JWT_SECRET from `openssl rand -base64 48`",
)
def jwt_secret_short(facts: Facts) -> Iterator[Found]:
    """a short key is guessed from one token, and then anybody makes tokens."""
    if facts.local.jwt_secret_bytes is not None and facts.local.jwt_secret_bytes < SECRET_BYTES:
        yield Found(f"NOTIFIWS_JWT_SECRET has {facts.local.jwt_secret_bytes} bytes, fewer than {SECRET_BYTES}")


@check(
    Severity.ERROR,
    mend="chmod 600 on it",
)
def secret_readable(facts: Facts) -> Iterator[Found]:
    """any account of this machine reads the passwords in it, and with them the log."""
    for path in facts.local.readable:
        yield Found(f"{path} holds a secret and is readable by everybody on this machine", f"chmod o-rwx {path}")


@check(
    Severity.WARNING,
    mend="correct the name; docs/settings.md lists them",
)
def unknown_setting(facts: Facts) -> Iterator[Found]:
    """a misspelt setting is not in force: the default is."""
    for name in facts.local.unknown:
        yield Found(f"{name} is no setting")


@check(
    Severity.WARNING,
    mend="correct what it names",
)
def settings_refused(facts: Facts) -> Iterator[Found]:
    """`notifiws ws` and `notifiws up` end with exit code 2 here."""
    if facts.local.refusal:
        yield Found(facts.local.refusal)
