"""Ctrl-C at a chosen moment of a training."""

from types import ModuleType

import pytest


def stop_at_call(monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str, number: int) -> list:
    """Let that call of the module's function, counted from 1 over all from now on, be a Ctrl-C.

    Returns the list of calls that were begun, which grows.
    """
    real, begun = getattr(module, function), []

    def stopped(*arguments):
        begun.append(arguments)
        if len(begun) == number:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, function, stopped)
    return begun
