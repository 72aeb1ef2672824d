"""What a check found item by item: kept in the expert store, and given to oversight alone."""

import json

import pytest

from sandwiching.oversight.expert_store import make_or_open
from sandwiching.oversight.item_records import RECORD, SEALED, TRAILS, ItemRecords, item_records
from sandwiching.tasks.sealed import Sealed, training


@pytest.fixture
def kept(tmp_path) -> ItemRecords:
    """Of a finished check, in the project's own place."""
    artifact = tmp_path / "store" / "check-key"
    artifact.mkdir(parents=True)
    found = ItemRecords(make_or_open(tmp_path / "experts", None, "salt").items("check-key"), artifact)
    sealed = {RECORD: found.write(RECORD, {"items": [{"id": "p0"}]}), TRAILS: found.write(TRAILS, {"groups": ["g0"]})}
    (artifact / "check.json").write_text(json.dumps({"headline": "It is.", SEALED: sealed}))
    return found


def test_they_are_found_from_the_artifact(kept, tmp_path):
    (tmp_path / "link").symlink_to(kept.artifact)
    for opened in (item_records(None, kept.artifact), item_records(str(tmp_path / "experts"), tmp_path / "link")):
        assert opened.record()["items"] == [{"id": "p0"}]
        assert opened.record()["headline"] == "It is."
        assert opened.trails() == {"groups": ["g0"]}
    assert kept.aggregates().keys() == {"headline", SEALED}


def test_no_training_stage_opens_them(kept):
    with training("training.ppo.ppo"):
        with pytest.raises(Sealed, match=r"training\.ppo\.ppo tried to open the expert store"):
            item_records(None, kept.artifact)
        with pytest.raises(Sealed, match="tried to open the items of a check"):
            ItemRecords(kept.folder, kept.artifact)
        for read in (kept.record, kept.trails):
            with pytest.raises(Sealed, match=r"tried to open .*experts/items/check-key"):
                read()


def test_items_of_another_check_are_refused(kept):
    file = kept.folder / RECORD
    file.write_text(file.read_text().replace("p0", "p1"))
    with pytest.raises(ValueError, match=r"record\.json is not what .*check\.json was made of"):
        kept.record()
    file.unlink()
    with pytest.raises(ValueError, match=r"record\.json does not exist: .* give check\.store that folder, or delete"):
        kept.record()


def test_a_check_elsewhere_or_without_items_is_said(kept, tmp_path):
    with pytest.raises(ValueError, match="is no expert store"):
        item_records(str(tmp_path / "elsewhere"), kept.artifact)
    (kept.artifact / "check.json").write_text(json.dumps({"headline": "Nothing was checked."}))
    with pytest.raises(ValueError, match=r"check-key has no trails\.json: nothing of that kind was asked"):
        kept.trails()
