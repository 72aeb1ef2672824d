"""The process that vllm_server/serve.py runs in: started, asked with a bound on time, ended."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "vllm_server" / "serve.py"
POLL_SECONDS = 0.5
LOG_LINES = 15


class ServerLostError(RuntimeError):
    """The process ended, or did not answer in time; another one may do better."""


class ServerError(RuntimeError):
    """The process answered that a request failed; it would fail again."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server is started with.

    python: the interpreter of vLLM's environment; threads: OpenMP threads on CPU; memory_share: of a GPU's memory, for
    weights and cache; cache_bytes: the cache alone, on CPU (None: by memory_share); sleep: whether the engine gives a
    GPU's memory back after each rollout. Seconds: start_timeout until it answers at all, timeout for one request.
    """

    python: Path
    model: Path
    dtype: str
    max_model_len: int
    max_batch: int
    threads: int
    tensor_parallel: int = 1
    memory_share: float = 0.3
    cache_bytes: int | None = None
    enforce_eager: bool = True
    sleep: bool = False
    start_timeout: float = 300.0
    timeout: float = 600.0


class ServerProcess:
    """One server. Its messages go into a log, whose end is in every error."""

    def __init__(self, settings: ServerSettings, version: int) -> None:
        self.settings = settings
        self.folder = tempfile.TemporaryDirectory(prefix="sandwiching_vllm_")
        self.log = Path(self.folder.name) / "log"
        key = secrets.token_hex(32)
        socket = str(Path(self.folder.name) / "socket")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(settings.python), str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(settings),
            )
        values = {**asdict(settings), "model": str(settings.model), "python": str(settings.python)}
        line = json.dumps({**values, "version": version, "socket": socket, "key": key, "parent": os.getpid()})
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended: the connection says so, with its log
        self.connection = self._connect(socket, bytes.fromhex(key))
        self.request("ping", timeout=settings.start_timeout)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def request(self, method: str, *arguments: Any, timeout: float | None = None) -> tuple[Any, int]:
        """The answer and the version of the weights that gave it.

        Raises ServerLostError when there is none within `timeout` (default: the settings'), ServerError when the
        server failed at it.
        """
        bound = self.settings.timeout if timeout is None else timeout
        try:
            self.connection.send((method, arguments))
            self._wait(method, bound)
            kind, answer, version = self.connection.recv()
        except (OSError, EOFError) as error:
            raise ServerLostError(self._words(f"ended in {method!r}")) from error
        if kind == "error":
            raise ServerError(f"vLLM failed at {method!r}:\n{answer}")
        return answer, version

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def _connect(self, socket: str, key: bytes) -> Connection:
        deadline = time.monotonic() + self.settings.start_timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerError(self._words("did not start"))
            if Path(socket).exists():
                try:
                    return Client(socket, "AF_UNIX", authkey=key)
                except ConnectionRefusedError:
                    pass  # bound, not listening yet
            time.sleep(POLL_SECONDS / 10)
        raise ServerLostError(self._words(f"did not listen in {self.settings.start_timeout:g} s"))

    def _wait(self, method: str, bound: float) -> None:
        deadline = time.monotonic() + bound
        while not self.connection.poll(POLL_SECONDS):
            if self.process.poll() is not None and not self.connection.poll(0):
                raise EOFError
            if time.monotonic() > deadline:
                raise ServerLostError(self._words(f"gave no answer to {method!r} in {bound:g} s"))

    def _words(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
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
        "HF_HUB_OFFLINE": "1",
        "PYTHONSAFEPATH": "",
    }
