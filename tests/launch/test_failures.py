"""Every kind of failure ends with one line that says what to do, and its exit code."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from sandwiching.configs.errors import ConfigError
from sandwiching.launch.attempts import Attempt, read_attempts
from sandwiching.launch.failures import ExitCode, HeadLost, NoRoom, NotInTime, Terminated, explain, of_the_cluster

AGAIN = "goes on from the last checkpoint"
FAILURES = [
    (ConfigError.at("x.yaml: a", "is 1", "set 2"), ExitCode.WRONG_INPUT, ["x.yaml: a: is 1; set 2"]),
    (ValueError("bad row"), ExitCode.WRONG_INPUT, ["bad row"]),
    (KeyboardInterrupt(), ExitCode.REQUEUE, ["stopped", AGAIN]),
    (Terminated("SIGTERM"), ExitCode.REQUEUE, ["stopped", AGAIN]),
    (FloatingPointError("step 3: ppo/loss not finite"), ExitCode.FAILED, ["step 3", "learning_rate"]),
    (RuntimeError("CUDA out of memory. Tried to"), ExitCode.FAILED, ["out of memory", "resources.micro_batch"]),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ExitCode.FAILED, ["resources.micro_batch"]),
    (MemoryError(), ExitCode.FAILED, ["resources.micro_batch"]),
    (OSError(errno.ENOSPC, "No space left on device"), ExitCode.FAILED, ["the disk is full", AGAIN]),
    (RuntimeError("first\nsecond"), ExitCode.FAILED, ["RuntimeError: first", "see the log", AGAIN]),
    (KeyError("x"), ExitCode.FAILED, ["KeyError", AGAIN]),
    (HeadLost("no answer"), ExitCode.FAILED, ["no answer", AGAIN]),
    (NoRoom("no node came back"), ExitCode.FAILED, ["no node came back", AGAIN]),
    (NotInTime("not within 5 s: raise resources.load_timeout"), ExitCode.FAILED, ["resources.load_timeout", AGAIN]),
]


@pytest.mark.parametrize(("error", "code", "said"), FAILURES, ids=[repr(error) for error, _, _ in FAILURES])
def test_explanations(error: BaseException, code: ExitCode, said: list[str]) -> None:
    found, message = explain(error)
    assert found == code
    assert "\n" not in message
    for part in said:
        assert part in message


def test_the_cause_is_taken_out_of_rays_wrapping() -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    wrapped = exceptions.RayTaskError("f", "long remote traceback", ValueError("bad row"))
    assert explain(wrapped.as_instanceof_cause()) == (ExitCode.WRONG_INPUT, "bad row")
    assert explain(WorkerGroupError("long", {1: wrapped})) == (ExitCode.WRONG_INPUT, "bad row")
    assert explain(ControllerError(FloatingPointError("step 3")))[0] == ExitCode.FAILED
    code, message = explain(exceptions.ActorDiedError())
    assert code == ExitCode.FAILED
    assert "a worker died" in message
    assert "out of memory" in explain(exceptions.OutOfMemoryError("killed"))[1]
    assert "raise resources.call_timeout" in explain(exceptions.GetTimeoutError("no answer"))[1]


def test_whom_to_blame() -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    lost = [NoRoom("x"), HeadLost("x"), NotInTime("x"), OSError(errno.EIO, "x"), exceptions.ActorDiedError()]
    assert all(map(of_the_cluster, lost))
    task = exceptions.RayTaskError("f", "remote traceback", ValueError("bad row"))
    own = [ValueError("x"), FloatingPointError("x"), MemoryError(), exceptions.OutOfMemoryError("killed"), task]
    assert not any(map(of_the_cluster, own))


def test_what_cannot_be_remembered_is_told_all_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Attempt(tmp_path):
            shutil.rmtree(tmp_path / "attempts")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises((typer.Exit, click.exceptions.Exit)) as stop:
        fail()
    assert stop.value.exit_code == ExitCode.FAILED
    said = capfd.readouterr().err
    assert "the disk is full" in said
    assert f"nor can {tmp_path / 'attempts'} be written: No such file or directory" in said


def test_attempts_are_numbered_logged_and_ended(tmp_path: Path) -> None:
    with Attempt(tmp_path) as attempt:
        os.write(1, b"from a library\n")
        assert read_attempts(tmp_path)[0].ended is None
    assert "from a library" in attempt.log.read_text()
    with pytest.raises((typer.Exit, click.exceptions.Exit)) as stop, Attempt(tmp_path):
        raise RuntimeError("broken")
    assert stop.value.exit_code == ExitCode.FAILED
    first, second = read_attempts(tmp_path)
    assert (first.number, first.exit_code, first.message) == (1, 0, None)
    assert (second.number, second.exit_code) == (2, 1)
    assert second.message is not None
    assert "broken" in second.message
    assert "Traceback" in (tmp_path / "attempts" / "2.log").read_text()


def test_the_terminal_gets_its_own_output_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Attempt(tmp_path) as attempt:
        os.write(1, b"into the log\n")
        os.write(2, b"this too\n")
        attempt.console.print("for the user")
    os.write(1, b"after\n")
    assert attempt.log.read_text() == "into the log\nthis too\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("after\n", "for the user\n")


def test_sigterm_asks_to_be_queued_again(tmp_path: Path) -> None:
    code = (
        "import sys, time, typer; from pathlib import Path\n"
        "from sandwiching.launch.attempts import Attempt\n"
        "from sandwiching.launch.stopping import StopSignals\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def run():\n"
        "    with Attempt(Path(sys.argv[0]).parent) as attempt:\n"
        "        StopSignals(print).install(); attempt.console.print('ready'); time.sleep(60)\n"
        "sys.argv = [sys.argv[1]]; app()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "x")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    assert child.stderr.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == ExitCode.REQUEUE
    assert AGAIN in said
    assert json.loads((tmp_path / "attempts" / "1.json").read_text())["exit_code"] == 75


ABANDONS = """
import threading
from pathlib import Path
from sandwiching.launch.attempts import Attempt
from sandwiching.launch.failures import HeadLost
with Attempt(Path("run")) as attempt:
    threading.Timer(0.2, attempt.abandon, [HeadLost("no answer")]).start()
    threading.Event().wait()
"""


def test_another_thread_can_end_the_run_while_the_main_one_waits(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDONS], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.splitlines()[0].startswith("no answer; ")
    (attempt,) = read_attempts(tmp_path / "run")
    assert (attempt.exit_code, attempt.message) == (1, done.stderr.splitlines()[0])
    assert "HeadLost: no answer" in (tmp_path / "run" / "attempts" / "1.log").read_text()
