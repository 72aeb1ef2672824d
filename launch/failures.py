"""What went wrong, in one line that says what to do, and the exit code for it."""

from __future__ import annotations

import errno
import sys
from enum import IntEnum

from sandwiching.training.artifacts import Stopped, StoppedByGate, WaitingForPeople

AGAIN = "the same command goes on from the last checkpoint"


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    NEEDS_PEOPLE = 3
    REQUEUE = 75


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGUSR1: the scheduler wants the devices back."""


class HeadLost(RuntimeError):
    """The head of the Ray cluster does not answer any more, and with it the cluster is lost."""


class NoRoom(RuntimeError):
    """Nodes of the cluster are lost, or held by others: the run's bundles of devices find no room any more."""


class NotInTime(RuntimeError):
    """A process on Ray did not get ready; the message names the setting that bounds it."""


def explain(error: BaseException) -> tuple[ExitCode, str]:
    """Exit code and message."""
    error = root_cause(error)
    text = _first_line(error)
    if isinstance(error, Stopped):
        return ExitCode.REQUEUE, f"{text}, and is saved; the same command goes on from there"
    if isinstance(error, StoppedByGate | WaitingForPeople):
        # Not 75: a scheduler that starts the job again at once would find the same judgements.
        return ExitCode.NEEDS_PEOPLE, str(error)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.REQUEUE, f"stopped; {AGAIN}"
    if isinstance(error, HeadLost | NoRoom):
        return ExitCode.FAILED, f"{text}; with a cluster that has room {AGAIN}"
    if isinstance(error, FloatingPointError):
        return ExitCode.FAILED, f"the training diverged: {text}; lower the stage's optimizer.learning_rate"
    if _out_of_memory(error):
        return ExitCode.FAILED, (
            f"out of memory: {text}; lower resources.micro_batch or resources.rollout_batch, "
            f"or set resources.gradient_checkpointing=true; {AGAIN}"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ExitCode.FAILED, f"the disk is full: {text}; free space, then {AGAIN}"
    if isinstance(error, ValueError):
        return ExitCode.WRONG_INPUT, str(error)
    if (said := _of_a_worker(error, text)) is not None:
        return ExitCode.FAILED, f"{said}; {AGAIN}"
    return ExitCode.FAILED, f"{type(error).__name__}: {text}; see the log; {AGAIN}"


def of_the_cluster(error: BaseException) -> bool:
    """Whether processes, nodes or disks are to blame, and not what was asked of them. Too little memory is no such."""
    error = root_cause(error)
    lost = isinstance(error, HeadLost | NoRoom | NotInTime | OSError) or _worker_died(error)
    return lost and not _out_of_memory(error)


def root_cause(error: BaseException) -> BaseException:
    """What happened on the worker, out of Ray's wrapping."""
    if "ray" not in sys.modules:
        return error
    from ray.exceptions import RayTaskError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    from sandwiching.launch.learner_group import LearnerLost

    while True:
        if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
            error = error.cause
        elif isinstance(error, WorkerGroupError) and error.worker_failures:
            error = next(iter(error.worker_failures.values()))
        elif isinstance(error, ControllerError):
            error = error.controller_failure
        elif isinstance(error, WorkerHealthCheckFailedError):
            error = error.health_check_failure
        elif isinstance(error, LearnerLost) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def _out_of_memory(error: BaseException) -> bool:
    """Torch says it in RuntimeErrors of several kinds, Ray's memory monitor in an error of its own."""
    if isinstance(error, MemoryError):
        return True
    said = f"{type(error).__name__}: {error}"
    known = isinstance(error, RuntimeError) or type(error).__module__ == "ray.exceptions"
    return known and any(words in said for words in ("out of memory", "can't allocate memory", "OutOfMemory"))


def _of_a_worker(error: BaseException, text: str) -> str | None:
    """What a process on Ray failed at, and what to do; None when none did."""
    if isinstance(error, NotInTime):
        return text
    if not _worker_died(error):
        return None
    from ray.exceptions import GetTimeoutError

    if isinstance(error, GetTimeoutError):
        return (
            f"a worker did not answer: {text}; raise resources.call_timeout if a rollout or an update takes longer, "
            "resources.start_timeout if processes need longer to start, or look in Ray's logs for what it hangs in"
        )
    return f"a worker died: {text}; often its node had no memory left"


def _worker_died(error: BaseException) -> bool:
    if "ray" not in sys.modules:
        return False
    from ray.exceptions import RayError

    return isinstance(error, RayError)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
