"""One command at a time in a folder, and the errors of what it does there stay its own."""

import subprocess
import sys

import pytest

from specvit.errors import RunError
from specvit.runs.locks import only_command_in

HOLDER = """
import sys, time
from pathlib import Path
from specvit.runs.locks import only_command_in
with only_command_in(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_out_until_it_ends_even_by_kill(tmp_path):
    folder = tmp_path / "new" / "folder"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with (
                pytest.raises(RunError, match="folder: somebody is here"),
                only_command_in(folder, "somebody is here"),
            ):
                pytest.fail("two at once")
        finally:
            holder.kill()
    with only_command_in(folder, "somebody is here"):
        pass


def test_an_error_of_the_work_is_not_taken_for_the_lock(tmp_path):
    with pytest.raises(BlockingIOError, match="of the work"), only_command_in(tmp_path, "busy"):
        raise BlockingIOError("of the work")
    with only_command_in(tmp_path, "busy"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="a file stands where a folder is needed"),
        only_command_in(tmp_path / "file", "busy"),
    ):
        pytest.fail("there is no such folder")
