"""The data directory: one holder, a state file nobody else reads, passwords kept for life."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifiws.stack import logfile
from notifiws.stack.directory import DataDirectory
from notifiws.stack.errors import InUse, StackError

STATE = {"phase": "running", "pid": 4711, "parts": []}


def test_only_one_holds_it(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    assert not directory.held()
    with directory.hold():
        assert directory.held()
        directory.write(STATE)  # type: ignore[arg-type]
        with pytest.raises(InUse, match="pid 4711") as refused, DataDirectory(tmp_path / "data").hold(patience=0):
            raise AssertionError("unreachable")
        assert "notifiws down" in str(refused.value.fix)
    assert not directory.held()
    with directory.hold(patience=0):
        pass


def test_the_state_is_of_the_living_only(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with directory.hold():
        assert directory.running() is None
        directory.write(STATE)  # type: ignore[arg-type]
        assert directory.running() == STATE
        assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    assert directory.running() is None
    # What a killed `up` left behind is no running stack, and the next one does not show it.
    directory.write(STATE)  # type: ignore[arg-type]
    assert directory.running() is None
    with directory.hold():
        assert directory.running() is None


def test_the_kernel_lets_go_when_the_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from notifiws.stack.directory import DataDirectory\n"
        "with DataDirectory(pathlib.Path(sys.argv[1])).hold():\n    print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout
    with holder.stdout as words:
        words.readline()
    assert DataDirectory(tmp_path).held()
    holder.kill()
    holder.wait()
    with DataDirectory(tmp_path).hold():
        pass


def test_passwords_and_ports_stay(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    first = directory.identity()
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600
    directory.remember_ports({"postgres": 23456})
    assert directory.identity() == {**first, "ports": {"postgres": 23456}}


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot use"), DataDirectory(tmp_path / "file").hold():
        raise AssertionError("unreachable")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("")
    mode = tmp_path.stat().st_mode
    with pytest.raises(StackError, match="not empty"), DataDirectory(tmp_path).hold():
        raise AssertionError("unreachable")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.odt"]
    assert tmp_path.stat().st_mode == mode


def test_a_damaged_identity_is_no_new_one(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.identity()
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(StackError, match="damaged"):
        directory.identity()


def test_logs_are_bounded_while_they_are_written(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        assert logfile.rotate(tmp_path, limit=99) == [log]
        assert log.stat().st_size == 0
        writer.write(b"after")
        assert logfile.rotate(tmp_path, limit=99) == []
    assert log.read_bytes() == b"after"
    assert Path(f"{log}.1").read_bytes() == b"x" * 100


def test_a_path_is_absolute_whatever_was_typed(tmp_path: Path) -> None:
    os.chdir(tmp_path)
    assert DataDirectory(Path(".notifiws")).path == tmp_path / ".notifiws"
