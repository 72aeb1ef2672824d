"""The judging page under raters who submit at once: is anything lost or doubled, and how long do they wait.

    python benchmarks/page.py                                   # 20 raters for a minute, SQLite
    python benchmarks/page.py --seconds 20 --kill-after 8       # the server is killed (SIGKILL) and started again
    python benchmarks/page.py --database postgresql://user@host/name

`sandwich raters serve` runs in a process of its own. Each rater answers without a pause for thought; of ten verdicts
one is sent twice at once, and some pairs are reloaded, skipped or undone. What raters saw being accepted is compared
with the export, text by text. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

SANDWICH = str(Path(sys.executable).with_name("sandwich"))
PATIENCE = 300.0
"""Seconds that a rater, or this script, waits for a server that does not answer."""


@dataclass
class Server:
    """`sandwich raters serve` over a file of pairs, on a port that stays the same when it is started again."""

    root: Path
    database: str
    labels_per_pair: int
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Take a free port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def sandwich(self, command: str, *arguments: str) -> str:
        """Another command over the same database."""
        call = [SANDWICH, "raters", command, str(self.root / "pairs.jsonl"), *arguments, "--database", self.database]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout

    def start(self) -> None:
        """Until it listens."""
        options = ["--database", self.database, "--port", str(self.port)]
        limits = ["--labels-per-pair", str(self.labels_per_pair)]
        call = [SANDWICH, "raters", "serve", str(self.root / "pairs.jsonl"), *options, *limits]
        self.process = subprocess.Popen(call, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
                connection.request("GET", "/health")
                assert connection.getresponse().status == 200
                return
            except ConnectionError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def stop(self, how: signal.Signals) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@dataclass
class Rater:
    """One simulated rater: accepted holds, by the two texts, the one that the rater preferred (None: a tie)."""

    name: str
    home: str
    port: int
    accepted: dict[frozenset[str], str | None] = field(default_factory=dict)
    order: list[frozenset[str]] = field(default_factory=list)
    waits: dict[str, list[float]] = field(default_factory=lambda: {"verdict": [], "page": []})
    retries: int = 0
    connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> str:
        """The body; the same request again while the server is away. Raises RuntimeError for an error status."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.connection = self.connection or http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=PATIENCE
                )
                headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
                start = time.perf_counter()
                self.connection.request(method, path, urlencode(form) if form else None, headers)
                reply = self.connection.getresponse()
                body = reply.read().decode()
                self.waits["verdict" if form else "page"].append(time.perf_counter() - start)
                if reply.status not in (200, 303):
                    raise RuntimeError(f"{method} {path}: {reply.status}")
                return body
            except (ConnectionError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                self.connection, self.retries = None, self.retries + 1
                time.sleep(0.1)

    def work(self, until: float) -> None:
        """Judge until a moment of the monotonic clock, or until nothing is left."""
        draw = random.Random(self.name)
        while time.monotonic() < until:
            body = self.ask("GET", self.home)
            if 'id="judge"' not in body:
                return
            hidden = dict(re.findall(r'name="(key|attempt)" value="([^"]+)"', body[body.index('id="judge"') :]))
            texts = [unescape(text) for text in re.findall(r'<span class="text" dir="auto">(.*?)</span>', body)]
            luck = draw.random()
            if luck < 0.04:
                continue
            if luck < 0.08:
                self.ask("POST", self.home + "skip", hidden)
                self.order.append(frozenset())
            elif luck < 0.12 and self.order:
                undo = re.findall(r'name="(key|attempt)" value="([^"]+)"', body[body.index('id="undo"') :])
                self.ask("POST", self.home + "undo", dict(undo[:2]))
                self.accepted.pop(self.order.pop(), None)
            else:
                self.judge(hidden, texts, draw)

    def judge(self, hidden: dict[str, str], texts: list[str], draw: random.Random) -> None:
        """One verdict; every tenth sent twice at once."""
        choice = draw.choice(["first", "second", "tie"])
        form = {**hidden, "choice": choice, "confidence": "fairly", "seconds": "1.0", "why": f"{self.name} & <b>"}
        again: Callable[[], None] | None = None
        if draw.random() < 0.1:
            twin = Rater(self.name, self.home, self.port)
            thread = threading.Thread(target=twin.ask, args=("POST", self.home + "judge", form))
            thread.start()
            again = thread.join
        self.ask("POST", self.home + "judge", form)
        if again is not None:
            again()
        self.accepted[frozenset(texts)] = {"first": texts[0], "second": texts[1], "tie": None}[choice]
        self.order.append(frozenset(texts))


def compare(raters: list[Rater], exported: Path, ids: dict[str, str]) -> dict[str, int]:
    """lost: accepted, not exported as said; doubled: exported twice; strange: exported, never accepted. ids: of raters
    in the file, by name."""
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    found = [
        (row["rater"], frozenset((row["response_a"], row["response_b"])), row.get(f"response_{row['preference']}"))
        for row in rows
    ]
    said = [(ids[one.name], texts, chosen) for one in raters for texts, chosen in one.accepted.items()]
    times = Counter((rater, texts) for rater, texts, _ in found)
    return {
        "accepted": len(said),
        "lost": len(set(said) - set(found)),
        "doubled": sum(number - 1 for number in times.values()),
        "strange": len(set(found) - set(said)),
    }


def measure(arguments: argparse.Namespace, root: Path) -> dict[str, float]:
    """Serve, let the raters work, export, compare."""
    with (root / "pairs.jsonl").open("w") as stream:
        for number in range(arguments.pairs):
            filler = "a sentence of an answer as models write them, " * 8
            row = {
                "prompt": f"Question {number}?",
                "response_a": f"yes {number}, {filler}",
                "response_b": f"no {number}",
            }
            stream.write(json.dumps(row) + "\n")
    server = Server(root, arguments.database or str(root / "raters.sqlite"), arguments.labels_per_pair)
    names = [f"rater {number}" for number in range(arguments.raters)]
    links = json.loads(server.sandwich("invite", *names, "--json"))
    raters = [Rater(name, "/r/" + link.split("/r/")[1], server.port) for name, link in links.items()]
    server.start()
    began = time.monotonic()
    with ThreadPoolExecutor(len(raters)) as pool:
        working = [pool.submit(one.work, began + arguments.seconds) for one in raters]
        if arguments.kill_after is not None:
            time.sleep(arguments.kill_after)
            server.stop(signal.SIGKILL)
            server.start()
        for one in working:
            one.result()
    seconds, load = time.monotonic() - began, os.getloadavg()[0]
    stopped = server.stop(signal.SIGTERM)
    server.sandwich("export", str(root / "out.jsonl"))
    ids = {row["name"]: row["rater"] for row in json.loads(server.sandwich("progress", "--json"))}
    result: dict[str, float] = {**compare(raters, root / "out.jsonl", ids), "load": load, "seconds": seconds}
    result |= {"retries": sum(one.retries for one in raters), "exit_code": stopped}
    for kind in ("verdict", "page"):
        waits = sorted(wait for one in raters for wait in one.waits[kind])
        result[f"{kind}s"] = len(waits)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
            result[f"{kind}_{name}_ms"] = round(1000 * waits[min(len(waits) - 1, int(share * len(waits)))], 1)
    return result


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--labels-per-pair", type=int, default=20)
    parser.add_argument("--kill-after", type=float, help="seconds; the server is then killed and started again")
    parser.add_argument("--database", help="an empty one; default: a SQLite file in a folder of its own")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["lost"] or result["doubled"] or result["strange"] or not result["accepted"] else 0)


if __name__ == "__main__":
    main()
