"""Runs stage functions in fresh processes, one a rank, so that no process group or environment leaks into pytest.

Tests reach it through the fixture `run_stages` of tests/training/conftest.py.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """A stage function (module:name) with its arguments; `kill_at`: every rank kills itself -9 inside this step."""

    function: str
    arguments: Mapping[str, Any]
    kill_at: int | None = None


def run(calls: Sequence[Call], ranks: int = 1, timeout: float = 400.0) -> list[Any]:
    """What each call returned on rank 0, all calls in the same processes in order.

    Stops at a call that kills; raises RuntimeError with a rank's output when it fails otherwise.
    """
    from sandwiching.training.distributed import free_port

    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Plain tuples: the child knows this file under another module name.
        plain = [(call.function, dict(call.arguments), call.kill_at) for call in calls]
        (folder / "calls").write_bytes(pickle.dumps(plain))
        processes = [_start(folder, rank, ranks, port) for rank in range(ranks)]
        try:
            _wait(processes, folder, time.monotonic() + timeout)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return [pickle.loads(file.read_bytes()) for file in sorted(folder.glob("result_*"))]


def _start(folder: Path, rank: int, ranks: int, port: int) -> subprocess.Popen[bytes]:
    places = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks, "LOCAL_SIZE": ranks}
    environment = {
        **os.environ,
        **{key: str(value) for key, value in places.items()},
        "CROSS_RANK": "0",
        "CROSS_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with (folder / f"output_{rank}").open("wb") as output:
        return subprocess.Popen([sys.executable, __file__, str(folder)], env=environment, stdout=output, stderr=output)


def _wait(processes: Sequence[subprocess.Popen[bytes]], folder: Path, deadline: float) -> None:
    while time.monotonic() < deadline:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes) or -signal.SIGKILL in codes:
            return
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                raise RuntimeError(f"rank {rank} ended with {code}:\n{(folder / f'output_{rank}').read_text()[-4000:]}")
        time.sleep(0.05)
    raise RuntimeError(f"no end in sight:\n{(folder / 'output_0').read_text()[-4000:]}")


def _work(folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    for i, (function, arguments, kill_at) in enumerate(pickle.loads((folder / "calls").read_bytes())):
        module, name = function.split(":")
        if kill_at is not None:
            arguments["observer"] = _Killer(kill_at)
        result = getattr(importlib.import_module(module), name)(**arguments)
        if os.environ["RANK"] == "0":
            (folder / f"result_{i:03}").write_bytes(pickle.dumps(result))


def ppo(**arguments: Any) -> dict[str, float]:
    """train_ppo with its roles in this process, for a Call of `__main__:ppo`."""
    from sandwiching.launch.local import LocalRoles
    from sandwiching.training.ppo import train_ppo

    return train_ppo(**arguments, roles=LocalRoles(arguments["resources"]))


def stopped_ppo(stop: tuple[str, str, int], **arguments: Any) -> tuple[bool, int]:
    """train_ppo that is asked to stop in the n-th call of a role's method, all as (role, method, n).

    Whether that call came to its end, and the step of the newest checkpoint (0: none).
    """
    from sandwiching.launch.local import LocalRoles
    from sandwiching.training.artifacts import STOP, Stopped
    from sandwiching.training.checkpoints import latest, step_of
    from sandwiching.training.polling import StopPoll
    from sandwiching.training.ppo import train_ppo

    role, method, number = stop
    folder, calls, ended = arguments["folder"], itertools.count(1), list[int]()
    roles = LocalRoles(arguments["resources"])
    roles.poll = StopPoll(folder, seconds=0)
    make_role = getattr(roles, role)

    def make(spec: Any) -> Any:
        made = make_role(spec)
        real = getattr(made, method)

        def asked(*given: Any) -> Any:
            call = next(calls)
            if call == number:
                folder.ask_to_stop()
            result = real(*given)
            ended.append(call)
            return result

        setattr(made, method, asked)
        return made

    setattr(roles, role, make)
    try:
        train_ppo(**arguments, roles=roles)
    except Stopped:
        (folder.path / STOP).unlink()
    else:
        raise AssertionError("nobody stopped")
    newest = latest(folder.checkpoints)
    return number in ended, 0 if newest is None else step_of(newest)


def rank_1_sees_a_stop(folder: Any) -> bool:
    """Whether this rank stops where all ask together, when rank 1 alone has seen that it should."""
    from sandwiching.training import distributed
    from sandwiching.training.artifacts import Stopped
    from sandwiching.training.polling import StopPoll

    distributed.init_process_group()
    poll = StopPoll(folder)
    poll.together()
    poll.seen = distributed.rank() == 1
    try:
        poll.together()
    except Stopped:
        return True
    return False


class _Killer:
    """An observer that dies inside a step: after its metrics, before its checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
