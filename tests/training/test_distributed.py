"""Process groups leave nothing behind."""

import subprocess
import sys

CODE = """
from sandwiching.training import distributed
distributed.init_process_group()
assert distributed.world_size() == 1
assert distributed.shared_memory_files() == []
import os
print(os.environ["MASTER_PORT"])
"""


def test_no_shared_memory_outlives_the_processes() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1].isdigit()
