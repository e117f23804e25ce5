"""Every test of a checker starts with no attempts, and writes progress to its own folder alone."""

import pytest

from attncourse.checks import attempts


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("ATTNCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(attempts, "_unsaved", {})
