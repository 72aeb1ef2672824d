"""What a run does about the expert store besides its check: it is there before anything is trained, the conditions are
declared, every manifest remembers where the ledger ended, and the plan says which looks are left. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sandwiching.configs.schema import Config
from sandwiching.launch.nodes import Graph, Node
from sandwiching.oversight.declaration import FILE, declare
from sandwiching.oversight.expert_store import DEFAULT_BUDGET, NOTE, STORE_FILE, make_or_open, open_store, place_of
from sandwiching.training.artifacts import Store


def prepare_checks(config: Config, nodes: Sequence[Node], store: Store) -> None:
    """Make the project's expert store, and write each check's conditions where its artifact will lie.

    Raises ValueError for a store that is another project's or has a smaller budget, or whose ledger is not whole.
    """
    checks = [node for node in nodes if node.stage == "check"]
    if checks:
        place = place_of(config.check.store, store.root)
        make_or_open(place, config.check.looks, config.data.splits.salt).ledger.entries()
    for node in checks:
        folder = node.folder(store)
        # While people are waited for, what they will say decides where it lies; nothing is trained on it before.
        if folder is not None and not (folder / FILE).exists() and node.state(store) == "new":
            trained = [one for one in node.parents.values() if one.stage == ("ppo" if config.ppo else "reward_model")]
            declare(folder, config.name, config.conditions, [one.state(store) == "done" for one in trained])


def ledger_note(config: Config, store: Store) -> dict[str, Any]:
    """For manifests: where the project's ledger ends now; nothing while there is no store.

    Raises BrokenLedger.
    """
    place = place_of(config.check.store, store.root)
    return {NOTE: asdict(open_store(place).ledger.head())} if (place / STORE_FILE).exists() else {}


@dataclass(frozen=True, slots=True)
class PlannedLooks:
    """The project's looks. budget: this run's own, at most the store's; pays: whether its check is a look more."""

    store: str
    used: int
    budget: int
    pays: bool
    problems: list[str]

    @property
    def left(self) -> int:
        """Of the budget."""
        return max(0, self.budget - self.used)

    def lines(self) -> list[str]:
        """For the terminal."""
        if self.problems:
            return [f"{self.store}: the ledger is NOT WHOLE ({self.problems[0]}): no check runs until it is restored"]
        lines = [f"{self.store}: {self.used} looks of {self.budget} used, {self.left} left"]
        if not self.pays:
            lines.append("the check of this run is paid for")
        elif not self.left:
            lines.append(f"the check of this run would be look {self.used + 1}, past the budget: INVALID")
        else:
            lines.append(f"the check of this run is look {self.used + 1}")
        return lines


def planned_looks(config: Config, graph: Graph, store: Store) -> PlannedLooks | None:
    """Looks used and left, from the files of the project's expert store; None for a run without a check."""
    checks = graph.of("check")
    if not checks:
        return None
    place, asked = place_of(config.check.store, store.root), config.check.looks
    if not (place / STORE_FILE).exists():
        return PlannedLooks(str(place), 0, asked or DEFAULT_BUDGET, pays=True, problems=[])
    expert = open_store(place)
    problems = expert.ledger.problems()
    entries = [] if problems else expert.ledger.entries()
    folders = [folder.name for node in checks if (folder := node.folder(store)) is not None]
    paid = {entry["name"] for entry in entries} >= set(folders) and bool(folders)
    budget = min(asked or expert.budget, expert.budget)
    return PlannedLooks(str(place), len(entries), budget, pays=not paid, problems=problems)
