"""Writing below a guarded folder is an error in that process, reading it and writing elsewhere are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import os, shutil, sys
from pathlib import Path
from sandwiching.oversight.monitors.read_only import forbid_writing
root, free = Path(sys.argv[1]), Path(sys.argv[2])
forbid_writing([root])
assert (root / "file").read_text() == "kept"
(free / "mine").write_text("written")
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "(root / 'file').write_text('x')",
        "(root / 'new').open('xb')",
        "(root / 'file').open('r+b')",
        "os.open(root / 'file', os.O_WRONLY)",
        "(root / 'file').unlink()",
        "os.replace(free / 'mine', root / 'file')",
        "(root / 'file').rename(free / 'taken')",
        "(root / 'deep' / 'more').mkdir()",
        "shutil.rmtree(root / 'deep')",
        "(free / 'link' / 'file').write_text('x')",
        "os.truncate(root / 'file', 0)",
        "os.chmod(root / 'file', 0)",
    ],
)
def test_what_is_watched_cannot_be_changed(attempt: str, tmp_path: Path) -> None:
    root, free = tmp_path / "watched", tmp_path / "free"
    (root / "deep").mkdir(parents=True)
    free.mkdir()
    (root / "file").write_text("kept")
    (free / "link").symlink_to(root)
    done = subprocess.run(
        [sys.executable, "-c", START + attempt, str(root), str(free)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "PermissionError: a monitor tried to change" in done.stderr
    assert (root / "file").read_text() == "kept"
    assert sorted(place.name for place in root.iterdir()) == ["deep", "file"]
    assert (free / "mine").read_text() == "written"
