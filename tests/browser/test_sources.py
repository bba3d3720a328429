"""The dashboard's own checks: strict types, and its modules' tests under node."""

import subprocess

import pytest

from notifiws.stack import dashboard


@pytest.mark.parametrize("script", ["typecheck", "test"])
def test_the_dashboards_own_checks_pass(dashboard_built: None, script: str) -> None:
    ran = subprocess.run(
        ["npm", "run", "--silent", script], cwd=dashboard.ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_lock_names_hashes_and_no_addresses() -> None:
    lock = (dashboard.ROOT / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert "://" not in lock, "npm writes `funding` links: take them out again"
    assert lock.count('"integrity"') == lock.count('"node_modules/')
