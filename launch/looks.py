"""What a run does about the expert store besides its check: it is there before anything is trained, the conditions are
declared, and every manifest remembers where the ledger ended. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sandwiching.configs.schema import Config
from sandwiching.launch.nodes import Node
from sandwiching.oversight.declaration import FILE, declare
from sandwiching.oversight.expert_store import NOTE, STORE_FILE, make_or_open, open_store, place_of
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
        assert folder is not None
        if not (folder / FILE).exists() and node.state(store) == "new":
            trained = [one for one in node.parents.values() if one.stage == ("ppo" if config.ppo else "reward_model")]
            declare(folder, config.name, config.conditions, [one.state(store) == "done" for one in trained])


def ledger_note(config: Config, store: Store) -> dict[str, Any]:
    """For manifests: where the project's ledger ends now; nothing while there is no store.

    Raises BrokenLedger.
    """
    place = place_of(config.check.store, store.root)
    return {NOTE: asdict(open_store(place).ledger.head())} if (place / STORE_FILE).exists() else {}
