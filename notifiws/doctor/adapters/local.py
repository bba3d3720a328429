"""What this process' own settings say, and which files with secrets others on this machine could read."""

from collections.abc import Mapping
from pathlib import Path

from notifiws.doctor.adapters.secrets import readable_by_others
from notifiws.doctor.facts import Local
from notifiws.version import version
from shared.settings import ENV_FILE, Settings, SettingsError, unknown_variables, variable
from ws_service.app import check_settings

_SECRETS = ("database_url", "redis_url", "reader_database_url", "jwt_secret")


def gather(settings: Settings, environ: Mapping[str, str], data_dir: Path | None) -> Local:
    """`data_dir`: of a stack that runs, whose files hold passwords too."""
    refusal = None
    try:
        check_settings(settings)
    except SettingsError as error:
        refusal = str(error)
    secret = settings.jwt_secret
    return Local(
        auth=settings.auth,
        host=settings.host,
        on_loopback=settings.on_loopback,
        retention=settings.retention,
        log_bytes=settings.log_bytes or None,
        version=version(),
        jwt_secret_bytes=None if secret is None else len(secret.get_secret_value().encode()),
        unknown=unknown_variables(environ),
        refusal=refusal,
        readable=readable_by_others(_files(environ, data_dir)),
    )


def _files(environ: Mapping[str, str], data_dir: Path | None) -> list[Path]:
    names = [variable(name) for name in _SECRETS]
    files = [Path(environ[f"{name}_FILE"]) for name in names if environ.get(f"{name}_FILE")]
    dotenv = Path(ENV_FILE)
    if _holds_secret(dotenv, names):
        files.append(dotenv)
    if data_dir is not None:
        files += [data_dir / "state.json", data_dir / "identity.json"]
    return files


def _holds_secret(dotenv: Path, names: list[str]) -> bool:
    try:
        lines = dotenv.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    given = (line.strip().removeprefix("export ").partition("=") for line in lines)
    return any(name.strip() in names and value.strip(" '\"") for name, _, value in given)
