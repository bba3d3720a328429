"""The dashboard's build, with an npm of the test's own: when it runs, when not, and that it never outlives `up`."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from notifiws.stack import dashboard
from notifiws.stack.process import alive

_NPM = """\
#!/bin/sh
echo "npm $*" >>"$CALLS"
if [ "$1" = ci ]; then mkdir -p node_modules; fi
if [ "$1" = run ]; then
    [ -z "$BUILD_FAILS" ] || exit 3
    if [ -n "$BUILD_HANGS" ]; then sleep 600 & echo $! >"$CALLS.pid"; wait; fi
    rm -rf out; mkdir out; echo built >out/index.html
fi
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and an npm and node that only say what they were asked."""
    root = tmp_path / "dashboard"
    (root / "app").mkdir(parents=True)
    (root / "app" / "page.tsx").write_text("one")
    (root / "package-lock.json").write_text("{}")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("npm", _NPM), ("node", "#!/bin/sh\necho v${NODE_MAJOR:-20}.1.0\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    for name, path in _paths(root).items():
        monkeypatch.setattr(dashboard, name, path)
    return root


def _paths(root: Path) -> dict[str, Path]:
    return {
        "ROOT": root,
        "OUT": root / "out",
        "_LOCK": root / "package-lock.json",
        "_STAMP": root / "out" / ".stamp",
        "_INSTALLED": root / "node_modules" / ".installed",
    }


def calls(site: Path) -> list[str]:
    try:
        return (site.parent / "calls").read_text().splitlines()
    except FileNotFoundError:
        return []


INSTALL, BUILD = "npm ci --no-audit --no-fund", "npm run build"


def test_it_is_built_once_and_again_only_when_something_changed(site: Path) -> None:
    assert not dashboard.built()
    assert dashboard.main() == 0
    assert calls(site) == [INSTALL, BUILD]
    assert dashboard.built()
    assert dashboard.main() == 0
    assert calls(site) == [INSTALL, BUILD]
    (site / "app" / "page.tsx").write_text("two")
    assert dashboard.main() == 0
    assert calls(site) == [INSTALL, BUILD, BUILD]
    (site / "package-lock.json").write_text('{"a": 1}')
    assert dashboard.main() == 0
    assert calls(site)[3:] == [INSTALL, BUILD]


def test_what_the_build_makes_is_no_change(site: Path) -> None:
    dashboard.build()
    for name in ("node_modules/x.js", "out/a.html", ".next/b", "next-env.d.ts", "tests/c.ts", "tsconfig.tsbuildinfo"):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("made")
    assert not dashboard.stale()
    (site / "app" / "new.tsx").write_text("x")
    assert dashboard.stale()


def test_a_failed_build_is_no_build(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_FAILS", "1")
    assert dashboard.main() == 1
    assert dashboard.stale()
    monkeypatch.delenv("BUILD_FAILS")
    assert dashboard.main() == 0
    assert not dashboard.stale()


def test_an_old_node_skips_it_with_one_line(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NODE_MAJOR", "18")
    assert dashboard.main() == 0
    assert capsys.readouterr().err == "dashboard skipped: node ≥ 20 is needed, here is v18.1.0\n"
    monkeypatch.setenv("PATH", "")
    assert dashboard.main() == 0
    assert capsys.readouterr().err == "dashboard skipped: node ≥ 20 and npm are not installed\n"
    assert calls(site) == []


_DRIVER = """
    import asyncio, os, pathlib, sys
    from notifiws.stack import dashboard
    root = pathlib.Path(sys.argv[1])
    for name, path in {paths}.items():
        setattr(dashboard, name, root / path)
    if "--take-children-along" in sys.argv:
        sys.exit(dashboard.main())
    module = sys.executable, [sys.executable, __file__, *sys.argv[1:], "--take-children-along"]
    spawn = dashboard.spawn
    dashboard.spawn = lambda argv, **how: spawn(module[1], **how)
    result = asyncio.run(dashboard.build_in_background(root.parent / "dashboard.log", print))
    print(result)
"""


@pytest.fixture
def driver(site: Path) -> list[str]:
    paths = {name: str(path.relative_to(site)) for name, path in _paths(site).items()}
    script = site.parent / "driver.py"
    script.write_text(textwrap.dedent(_DRIVER).replace("{paths}", repr(paths)))
    return [sys.executable, str(script), str(site)]


def test_in_the_background(site: Path, driver: list[str]) -> None:
    done = subprocess.run(driver, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["ready"]
    failed = subprocess.run(
        driver, capture_output=True, text=True, check=True, timeout=30, env={**os.environ, "BUILD_FAILS": "1"}
    )
    assert failed.stdout.split() == ["ready"]  # nothing changed: nothing was built
    (site / "app" / "page.tsx").write_text("broken")
    failed = subprocess.run(
        driver, capture_output=True, text=True, check=True, timeout=30, env={**os.environ, "BUILD_FAILS": "1"}
    )
    assert failed.stdout.splitlines() == [
        f"the dashboard's build failed; its log: {site.parent / 'dashboard.log'}",
        "failed",
    ]
    assert "failed with exit code 3" in (site.parent / "dashboard.log").read_text()


def test_a_killed_up_takes_npm_and_its_children_along(site: Path, driver: list[str]) -> None:
    up = subprocess.Popen(driver, env={**os.environ, "BUILD_HANGS": "1"})
    grandchild = site.parent / "calls.pid"
    deadline = time.monotonic() + 20
    while not (grandchild.exists() and grandchild.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int(grandchild.read_text())
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    up.kill()
    up.wait()
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_stopped_up_takes_it_along_too(site: Path, driver: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_HANGS", "1")
    spawn = dashboard.spawn
    monkeypatch.setattr(dashboard, "spawn", lambda argv, **how: spawn([*driver, "--take-children-along"], **how))
    build = asyncio.create_task(dashboard.build_in_background(site.parent / "log", print))
    grandchild = site.parent / "calls.pid"
    async with asyncio.timeout(20):
        while not (grandchild.exists() and grandchild.read_text().strip()):
            await asyncio.sleep(0.02)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    pid = int(grandchild.read_text())
    async with asyncio.timeout(20):
        while alive(pid):
            await asyncio.sleep(0.02)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
