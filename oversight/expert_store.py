"""The expert store: what experts know of dev and final, shared by the runs and sweeps of a project, and who looked.

    <check.store>/
      store.json            id, budget of looks and split salt: fixed when the store is made
      ledger.jsonl          one line a look (ledger.py)
      held_out/<hash>.json  the prompts of dev and final, as they were when somebody looked
      items/<artifact>/     what a check found item by item (item_records.py)

Only oversight opens it. Torch-free, since `sandwich ledger` and `status` answer at once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandwiching.oversight.ledger import BrokenLedger, Entry, Head, Ledger, cut_short, digest
from sandwiching.tasks.records import Split, Task
from sandwiching.tasks.sealed import refuse_training
from sandwiching.training.artifacts import MANIFEST, write_atomic

STORE_FILE, LEDGER_FILE = "store.json", "ledger.jsonl"
DEFAULT_BUDGET = 20
STANDING_FILE = "ledger.json"
"""In an artifact of a check: its look, and where the ledger stood then."""
HELD_OUT: tuple[Split, ...] = ("dev", "final")
"""Splits that nothing trains on."""
NOTE = "ledger"
"""Under which manifests remember the head, in `environment`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One look among those of its project. number: how many looks there were with it; before: runs or commands that
    had opened the final split, or some of its prompts, already when this look opened it."""

    store: str
    number: int
    budget: int
    length: int
    hash: str
    split: str
    before: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Within the budget."""
        return self.number <= self.budget

    @property
    def sentence(self) -> str:
        """What every page says of a look: it begins with INVALID past the budget."""
        if not self.valid:
            said = (
                f"INVALID: look {self.number} of a budget of {self.budget}. Whoever looks often enough finds what they "
                "look for; nothing here is evidence."
            )
        else:
            said = f"Look {self.number} of {self.budget}."
        if self.before:
            times = "once" if len(self.before) == 1 else f"{len(self.before)} times"
            shown = ", ".join(dict.fromkeys(self.before))
            said += f" The final split had been opened {times} before ({shown}): no longer fresh for a published table."
        return said

    @property
    def head(self) -> Head:
        """Where the ledger ended after this look."""
        return Head(self.store, self.length, self.hash)


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at. name: of the artifact or command; the same name looks once, however often it is restarted.

    artifacts: folders by part. candidates: how many policies, or settings, the result could be used to choose among.
    held_out: name of the prompts of dev and final, see ExpertStore.remember; where it is not known, they may be any.
    """

    name: str
    run: str
    split: str
    purpose: str
    artifacts: Mapping[str, str]
    candidates: int
    held_out: str = ""


@dataclass(frozen=True, slots=True)
class ExpertStore:
    """An open store. Raises Sealed where a training stage opens it, BrokenLedger for a ledger that is not its own."""

    folder: Path
    id: str
    budget: int
    salt: str
    made: str

    def __post_init__(self) -> None:
        refuse_training(f"the expert store {self.folder}")

    @property
    def ledger(self) -> Ledger:
        """Its looks."""
        identity = {"id": self.id, "budget": self.budget, "salt": self.salt}
        return Ledger(self.folder / LEDGER_FILE, self.id, digest(identity))

    def look(self, look: Look, allowed: int) -> Standing:
        """Pay for a look, unless one of that name is paid for. allowed: the run's own budget, at most the store's.

        Raises BrokenLedger.
        """
        refuse_training(f"the expert store {self.folder}")

        def entry(entries: list[Entry]) -> dict[str, Any] | None:
            if any(one["name"] == look.name for one in entries):
                return None
            return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **asdict(look), "budget": allowed}

        entries, _ = self.ledger.append(entry)
        return self.standing(entries, look.name)

    def standing(self, entries: Sequence[Entry], name: str) -> Standing:
        """Of a look that is paid for."""
        own = next(one for one in entries if one["name"] == name)
        earlier = entries[: own["number"] - 1] if own["split"] == "final" else []
        before = [one["run"] for one in earlier if one["split"] == "final" and self._shared(one, own)]
        return Standing(self.id, own["number"], own["budget"], own["number"], own["hash"], own["split"], tuple(before))

    def remember(self, prompts: Mapping[str, Sequence[str]]) -> str:
        """Keep the ids of dev's and final's prompts, by split; returns their hash, the file's name."""
        name = digest(prompts)[:16]
        file = self.folder / "held_out" / f"{name}.json"
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            write_atomic(file, json.dumps(prompts))
        return name

    def _shared(self, one: Entry, other: Entry) -> bool:
        """Whether two looks at final had a prompt in common, as far as is known."""
        files = [self.folder / "held_out" / f"{look['held_out']}.json" for look in (one, other)]
        if not all(file.exists() for file in files):
            return True
        first, second = (set(json.loads(file.read_text())["final"]) for file in files)
        return not first.isdisjoint(second)

    def items(self, name: str) -> Path:
        """Folder of what the check with an artifact of that name found item by item."""
        return self.folder / "items" / name

    def left(self, entries: Sequence[Entry]) -> int:
        """Looks that the store's budget still has."""
        return max(0, self.budget - len(entries))


def held_out_ids(task: Task) -> dict[str, list[str]]:
    """Ids of a task's prompts of dev and final, as ExpertStore.remember takes them."""
    return {split: [prompt.id for prompt in task.prompts(split)] for split in HELD_OUT}


def place_of(setting: str | None, artifacts: Path) -> Path:
    """The store's folder: check.store, else `experts` beside the folder of artifacts (runs/store -> runs/experts)."""
    return Path(setting).expanduser() if setting is not None else artifacts.parent / "experts"


def open_store(folder: Path) -> ExpertStore:
    """A store that exists. Raises ValueError when there is none."""
    refuse_training(f"the expert store {folder}")
    file = folder / STORE_FILE
    if not file.exists():
        raise ValueError(f"{folder} is no expert store (it has no {STORE_FILE}); the first check of a project makes it")
    return ExpertStore(folder, **json.loads(file.read_text()))


def make_or_open(folder: Path, budget: int | None, salt: str) -> ExpertStore:
    """The project's store, made on first use with this budget (20 when not given) and split salt.

    Raises ValueError when it exists with a smaller budget, or with another salt: for another project's splits.
    """
    refuse_training(f"the expert store {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / STORE_FILE
    with Ledger(folder / LEDGER_FILE, "", "").alone():
        if not file.exists():
            if (folder / LEDGER_FILE).exists():
                raise BrokenLedger(f"{folder} has a ledger but no {STORE_FILE}: restore it from a backup")
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            made = {"id": uuid.uuid4().hex[:16], "budget": budget or DEFAULT_BUDGET, "salt": salt, "made": now}
            write_atomic(file, json.dumps(made, indent=1))
    store = open_store(folder)
    if store.salt != salt:
        raise ValueError(
            f"{folder} is the expert store of another project: it was made for data.splits.salt={store.salt!r}, and "
            f"here it is {salt!r}, so that what is held out there may be trained on here; give check.store a folder of "
            "this project's own"
        )
    if budget is not None and budget > store.budget:
        raise ValueError(
            f"check.looks={budget} would raise the budget of {store.budget} looks that was fixed when {folder} was "
            "made; check.looks may only lower it"
        )
    return store


def remembered(artifacts: Path, store: str) -> Iterator[tuple[str, Head]]:
    """Heads of a store's ledger that manifests in a folder of artifacts remember."""
    for file in sorted(artifacts.glob(f"*/{MANIFEST}")):
        note = json.loads(file.read_text()).get("environment", {}).get(NOTE)
        if note is not None and note["store"] == store:
            yield file.parent.name, Head(**note)
        own = file.parent / STANDING_FILE
        if own.exists():
            standing = read_standing(file.parent)
            if standing is not None and standing.store == store:
                yield file.parent.name, standing.head


def refuse_cut(store: ExpertStore, artifacts: Path) -> None:
    """Raise BrokenLedger where manifests remember lines that the ledger does not have."""
    found = cut_short(store.ledger.entries(), store.ledger.first, remembered(artifacts, store.id))
    if found:
        raise BrokenLedger(
            f"{store.ledger.file} was cut short: {found[0]}; restore it from a backup, since looks that were taken "
            "must be counted"
        )


def read_standing(artifact: Path) -> Standing | None:
    """The look of a check's artifact; None where it has none, since no expert was asked."""
    file = artifact / STANDING_FILE
    if not file.exists():
        return None
    fields = json.loads(file.read_text())
    return Standing(
        **{name: fields[name] for name in Standing.__slots__ if name != "before"}, before=tuple(fields["before"])
    )


def write_standing(artifact: Path, standing: Standing) -> None:
    """Beside a check's results, with the sentence for whoever reads the file."""
    fields = {**asdict(standing), "valid": standing.valid, "sentence": standing.sentence}
    write_atomic(artifact / STANDING_FILE, json.dumps(fields, indent=1))
