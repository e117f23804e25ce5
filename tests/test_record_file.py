"""Many records in one file: whole lines only, whoever writes, whatever was cut short."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_results import STORED

from attncourse.record_file import append_records, read_records


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "records.jsonl"
    for record in STORED[:3]:
        append_records(path, [record])
    return path


def test_what_was_appended_is_read_in_that_order(path):
    assert read_records(path) == STORED[:3]
    assert path.read_text().count("\n") == 3


def test_no_file_has_no_records(tmp_path):
    assert read_records(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("lost", [2, 100, 2000])
def test_a_last_line_that_was_cut_short_loses_no_other(path, lost, capsys):
    path.write_text(path.read_text()[:-lost])
    assert read_records(path) == STORED[:2]
    rest = path.read_text().split("\n")[-1]
    append_records(path, [STORED[3]])
    assert read_records(path) == [*STORED[:2], STORED[3]]
    assert "had been cut short" in capsys.readouterr().out
    assert path.with_suffix(".cut-short").read_text() == rest + "\n"  # even that is kept
    path.write_text(path.read_text()[:-5])
    append_records(path, [STORED[4]])
    assert path.with_suffix(".cut-short").read_text() == f"{rest}\n{STORED[3].to_json()[:-4]}\n"


def test_a_missing_last_newline_loses_nothing(path):
    path.write_text(path.read_text()[:-1])
    assert read_records(path) == STORED[:3]
    append_records(path, [STORED[3]])
    assert read_records(path) == STORED[:4]
    assert not path.with_suffix(".cut-short").exists()


@pytest.mark.parametrize("damage", ["", "not json", "[]"])
def test_damage_in_the_middle_is_said_with_its_line(path, damage):
    lines = path.read_text().split("\n")
    lines[1] = damage
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2: not a training record.*remove that line"):
        read_records(path)


def test_a_file_that_is_no_text_is_said_with_its_name(tmp_path):
    (tmp_path / "picture.jsonl").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"picture\.jsonl is not a file of records"):
        read_records(tmp_path / "picture.jsonl")


def test_processes_that_append_at_the_same_time_lose_nothing(tmp_path):
    code = ("import sys; from dataclasses import replace; from pathlib import Path; from test_results import STORED\n"
            "from attncourse.record_file import append_records\n"
            "for seed in range(int(sys.argv[1]), int(sys.argv[1]) + 8):\n"
            "    append_records(Path(sys.argv[2]), [replace(STORED[0], seed=seed)])")
    path = tmp_path / "records.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(first), str(path)], cwd=Path(__file__).parent)
               for first in (0, 8, 16)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert sorted(record.seed for record in read_records(path)) == list(range(24))
    assert {replace(record, seed=STORED[0].seed).to_json() for record in read_records(path)} == {STORED[0].to_json()}
