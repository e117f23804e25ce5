"""Every test of a checker starts with no attempts, and writes progress to its own folder alone."""

import pytest

from attncourse.checks import attempts


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("ATTNCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(attempts, "_unsaved", {})


@pytest.fixture
def tells_apart():
    """Every right answer passes, and every wrong one fails with the cause that names it."""
    def check(exercise, right, wrong):
        assert [repr(result) for result in map(exercise, right) if result.status != "passed"] == []
        causes = {cause: [exercise(answer).cause for answer in answers] for cause, answers in wrong.items()}
        assert causes == {cause: [cause] * len(answers) for cause, answers in wrong.items()}
    return check
