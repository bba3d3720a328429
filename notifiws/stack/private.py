"""Files and folders of a server that runs under another account than ours: who owns what, and no link is followed.

When we are root, the folder around a server's data stays root's, so that the account cannot put a link where root
writes next; it owns the data folder inside, and files that it reads. A folder that an older release gave to the
account is taken back first; what may have been planted in it is replaced or refused, never written through.
"""

import os
import secrets
from pathlib import Path

from notifiws.stack.errors import StackError
from notifiws.stack.process import Account


def keep_folder(path: Path, account: Account | None) -> None:
    """Make a folder ours. The account, if there is one, may pass through it."""
    path.mkdir(parents=True, exist_ok=True)
    folder = _open_folder(path, account)
    try:
        if account:
            os.fchown(folder, os.geteuid(), os.getegid())
        os.fchmod(folder, 0o711 if account else 0o700)
    finally:
        os.close(folder)


def give_folder(path: Path, account: Account | None) -> None:
    """Make a folder, in one that we keep, that only the account enters (without one: we)."""
    path.mkdir(mode=0o700, exist_ok=True)
    folder = _open_folder(path, account)
    try:
        os.fchmod(folder, 0o700)
        if account:
            account.own(folder)
    finally:
        os.close(folder)


def write_file(path: Path, text: str, account: Account | None = None) -> None:
    """Replace a file by a new one that only the account reads (without one: we)."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
            if account:
                account.own(file)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def touch_log(path: Path) -> None:
    """Have a log that only we read."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StackError(
            f"cannot write the log {path}: {error.strerror}", "look at what it is, and remove it"
        ) from error


def _open_folder(path: Path, account: Account | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if account else 0)
    try:
        return os.open(path, flags)
    except OSError as error:
        raise StackError(
            f"{path} is not a folder of its own: {error.strerror}", "put the folder itself there, not a link"
        ) from error
