"""A file is either complete or as it was before."""

import errno
import os

import pytest

from attncourse.atomic import write_atomic


def test_it_writes_and_replaces(tmp_path):
    path = write_atomic(tmp_path / "new" / "file.json", "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, call):
    path = write_atomic(tmp_path / "file.json", "old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"could not write .*file\.json \(No space left on device\); nothing was changed"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_an_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file.json", "new")
    assert os.listdir(tmp_path) == []
