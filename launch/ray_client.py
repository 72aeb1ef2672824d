"""A client of a Ray cluster's job server that answers within a bound and fails in one line. Imports Ray."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

REFUSED = (
    "export RAY_AUTH_MODE=token and the cluster's token as RAY_AUTH_TOKEN, or its file as RAY_AUTH_TOKEN_PATH, and try "
    "again"
)


API_SERVER = "RAY_API_SERVER_ADDRESS"

# Ray sets the level itself, and tells of a connection that closes when a job ends.
logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)


class RayJobError(ValueError):
    """The job server is not there, does not answer, or refused."""


class NoServer(RayJobError):
    """Nothing listens at the address: the cluster has ended."""


class UnknownJob(RayJobError):
    """The cluster knows no such job: it was started anew since."""


class BoundedClient(JobSubmissionClient):
    """Ray's client, which would wait for ever, with seconds for every request."""

    def __init__(self, address: str | None, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(address)

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **{"timeout": self.seconds, **options})


class JobServer:
    """The job server at an address; Ray's own default (RAY_API_SERVER_ADDRESS, RAY_ADDRESS, this machine) without one.

    Every method raises RayJobError.
    """

    def __init__(self, address: str | None, seconds: float) -> None:
        place = address or os.environ.get(API_SERVER) or os.environ.get("RAY_ADDRESS") or "this machine"
        with one_line(place), _preferred(address):
            _knock(place, seconds)
            self.client = BoundedClient(address, seconds)
        self.address: str = self.client.get_address()

    def submit(self, entrypoint: str, submission_id: str, variables: dict[str, str], cpus: float) -> str:
        """Submit a job; its submission id."""
        with one_line(self.address):
            return self.client.submit_job(
                entrypoint=entrypoint,
                submission_id=submission_id,
                runtime_env={"env_vars": variables},
                # With 0 Ray would no longer start it on the head node.
                entrypoint_num_cpus=cpus or None,
            )

    def look(self, job: str) -> tuple[str, str, int | None]:
        """State (PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED), Ray's message, and the driver's exit code."""
        with one_line(self.address):
            info = self.client.get_job_info(job)
        return info.status.value, info.message or "", info.driver_exit_code

    def stop(self, job: str) -> None:
        """Ask a job to end: SIGTERM, and SIGKILL after the seconds that it was submitted with."""
        with one_line(self.address):
            self.client.stop_job(job)

    async def follow(self, job: str, write: Callable[[str], None]) -> None:
        """Hand on the job's output until it has ended."""
        with one_line(self.address):
            lines: AsyncIterator[str] = self.client.tail_job_logs(job)
            async for text in lines:
                write(text)


@contextmanager
def _preferred(address: str | None) -> Iterator[None]:
    """Inside, an address that was given wins over the variables, which Ray itself prefers."""
    before = os.environ.get(API_SERVER)
    if address is not None:
        os.environ[API_SERVER] = address
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(API_SERVER, None)
        else:
            os.environ[API_SERVER] = before


def _knock(place: str, seconds: float) -> None:
    """Raise OSError when nothing listens at the address HOST:PORT of a cluster, for which Ray would wait a minute."""
    host, _, port = place.rpartition(":")
    if "://" not in place and host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()


@contextmanager
def one_line(place: str) -> Iterator[None]:
    """What Ray raises inside, as a RayJobError of one line that says what to do."""
    try:
        yield
    except AuthenticationError as error:
        # Ray's own first sentence says whether there was a token at all.
        said = _first(error).partition(". ")[0].rstrip(".")
        raise RayJobError(f"the Ray cluster at {place} refuses: {said}; {REFUSED}") from error
    except (OSError, requests.RequestException) as error:
        raise (NoServer if _nobody_listens(error) else RayJobError)(
            f"no Ray job server answers at {place} ({_first(error)}); give the dashboard's address, as in "
            "--address http://127.0.0.1:8265, or start the cluster"
        ) from error
    except RuntimeError as error:
        kind = UnknownJob if "status code 404" in str(error) else RayJobError
        raise kind(f"the Ray job server at {place}: {_first(error)}") from error


def _nobody_listens(error: BaseException) -> bool:
    """Rather than that an answer took too long. Ray's own ConnectionError stands for one of requests."""
    cause = error.__context__ if type(error) is ConnectionError and error.__context__ else error
    refused = isinstance(cause, requests.ConnectionError) and not isinstance(cause, requests.Timeout)
    return refused or isinstance(cause, ConnectionRefusedError)


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
