"""The process that vllm_server/serve.py runs in: started, asked with a bound on time, ended."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, TypeVar

from sandwiching.policy.background import background
from sandwiching.policy.generation import go_on

SCRIPT = Path(__file__).parent / "vllm_server" / "serve.py"
POLL_SECONDS = 0.5
LOG_LINES = 40
LOG_BYTES = 1 << 16


T = TypeVar("T")


class ServerLostError(RuntimeError):
    """The process ended, or did not answer in time; another one may do better."""


class ServerError(RuntimeError):
    """The process answered that a request failed; it would fail again."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server is started with.

    python: the interpreter of vLLM's environment; threads: OpenMP threads on CPU; spins: whether they wait in a loop,
    which is fastest, and holds the cores of a trainer that works meanwhile; memory_share: of a GPU's memory, for
    weights and cache; cache_bytes: the cache alone, on CPU (None: by memory_share); sleep: whether the engine gives a
    GPU's memory back after each rollout. Seconds: start_timeout until it answers at all, timeout for one request.
    """

    python: Path
    model: Path
    dtype: str
    max_model_len: int
    max_batch: int
    threads: int
    spins: bool = True
    tensor_parallel: int = 1
    memory_share: float = 0.3
    cache_bytes: int | None = None
    enforce_eager: bool = True
    sleep: bool = False
    start_timeout: float = 300.0
    timeout: float = 1800.0


class ServerProcess:
    """One server. Its messages go into a log, whose end is in every error. Requests may come from several threads."""

    def __init__(self, settings: ServerSettings, version: int) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self.process = subprocess.Popen(
            [str(settings.python), str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            env=environment(settings),
            # Signals to our group are for us; the server ends when we do.
            start_new_session=True,
        )
        try:
            self.connection = self._introduce(version)
            self.request("ping", timeout=settings.start_timeout)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def request(
        self, method: str, *arguments: Any, timeout: float | None = None, poll: Callable[[], None] = go_on
    ) -> tuple[Any, int]:
        """The answer and the version of the weights that gave it. What `poll` raises meanwhile ends the server.

        Raises ServerLostError when there is none within `timeout` (default: the settings'), ServerError when the
        server failed at it.
        """
        bound = self.settings.timeout if timeout is None else timeout
        with self.lock:
            kind, answer, version = self._within(bound, repr(method), lambda: self._exchange(method, arguments), poll)
        if kind == "error":
            raise ServerError(f"vLLM failed at {method!r}:\n{answer}")
        return answer, version

    def stop(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def _introduce(self, version: int) -> Connection:
        """Hand over the settings, and connect to the socket that they name: one without a file, as long as it lives."""
        key, socket = secrets.token_hex(32), f"\0sandwiching-vllm-{secrets.token_hex(16)}"
        values = {**asdict(self.settings), "model": str(self.settings.model), "python": str(self.settings.python)}
        line = json.dumps({**values, "version": version, "socket": socket, "key": key, "parent": os.getpid()})
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended: `_connect` says so, with its log
        return self._within(self.settings.start_timeout, "its start", lambda: self._connect(socket, bytes.fromhex(key)))

    def _connect(self, socket: str, key: bytes) -> Connection:
        while self.process.poll() is None:
            try:
                return Client(socket, "AF_UNIX", authkey=key)
            except ConnectionRefusedError:
                time.sleep(POLL_SECONDS / 10)  # not listening yet
        raise EOFError

    def _exchange(self, method: str, arguments: tuple[Any, ...]) -> tuple[str, Any, int]:
        self.connection.send((method, arguments))
        return self.connection.recv()

    def _within(self, bound: float, what: str, call: Callable[[], T], poll: Callable[[], None] = go_on) -> T:
        """The call's result. A server that stops in the middle of a message would block us for ever."""
        future, deadline = background(call), time.monotonic() + bound
        while not wait([future], POLL_SECONDS).done:
            if self.process.poll() is not None:
                raise ServerLostError(self._words(f"ended in {what}"))
            if time.monotonic() > deadline:
                raise ServerLostError(self._words(f"gave no answer to {what} in {bound:g} s"))
            try:
                poll()
            except BaseException:
                self.stop()  # its answer would be taken for that to the next request
                raise
        try:
            return future.result()
        except (OSError, EOFError) as error:
            raise ServerLostError(self._words(f"ended in {what}")) from error

    def _words(self, what: str) -> str:
        text = os.pread(self.log.fileno(), LOG_BYTES, max(0, os.fstat(self.log.fileno()).st_size - LOG_BYTES))
        lines = text.decode(errors="replace").splitlines()[-LOG_LINES:]
        return f"the vLLM process {self.process.pid} {what}; the end of its log:\n" + "\n".join(lines)


def environment(settings: ServerSettings) -> Mapping[str, str]:
    """Of the server's process."""
    return {
        **os.environ,
        # One process where one is enough: a kill leaves nothing behind.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(settings.threads),
        **({} if settings.spins else {"OMP_WAIT_POLICY": "PASSIVE"}),
        "HF_HUB_OFFLINE": "1",
        "PYTHONSAFEPATH": "",
    }
