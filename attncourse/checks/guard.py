"""Run a learner's answer so that the notebook, the check and torch come out of it as they went in.

Survived: every exception, sys.exit, endless Python loops (a time limit), endless recursion and printing, torch
functions that were replaced before or during the check, and changed global state: default dtype and device, gradient
mode, random generators, deterministic mode, threads, recursion limit.

Not survived, because plain Python offers no way: os._exit and crashes of the process; a loop that catches every
exception, BaseException included; C code that never returns; memory that runs out; files, processes and threads that
the answer leaves behind; torch functions that were replaced before this module was imported; code that rewrites the
checker, which fools nobody but its author. Where no alarm signal exists (Windows, or another thread than the main one)
the answer runs in a thread of its own; one that cannot be stopped there is left running, and the check goes on.
"""

import ctypes
import io
import math
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import nn

PRINTED_LIMIT = 200  # characters of the answer's own output that are kept


class TimeLimit(BaseException):
    """Raised inside an answer that runs too long. No Exception, so that ``except Exception`` does not stop it."""


class UserInterrupt(KeyboardInterrupt):
    """The learner's own Ctrl-C or stop button, told apart from a KeyboardInterrupt that the answer raises."""


# --- torch's own functions -------------------------------------------------------------------------------------------

NAMESPACES = {
    "torch": torch, "torch.Tensor": torch.Tensor, "torch.linalg": torch.linalg, "nn": nn, "F": nn.functional,
    "nn.Module": nn.Module, "nn.Linear": nn.Linear, "nn.Conv2d": nn.Conv2d, "nn.Sequential": nn.Sequential,
    "nn.ReLU": nn.ReLU, "nn.Sigmoid": nn.Sigmoid, "math": math,
}
FOLLOWS_DEFAULT_DTYPE = ("torch", "Storage")  # torch itself replaces this one
MISSING = object()  # where a namespace has no such name; not callable


def course_modules() -> dict[str, object]:
    """The course's own modules that are loaded: an answer may not rewrite them either."""
    return {name: module for name, module in sys.modules.items() if name.startswith("attncourse.")}


def snapshot(namespaces: dict[str, object]) -> dict[str, dict]:
    return {name: dict(vars(space)) for name, space in namespaces.items()}


def restore(namespaces: dict[str, object], originals: dict[str, dict]) -> dict[tuple[str, str], object]:
    """Undo each replaced function. Returns what was found in its place, by (namespace, name).

    A name new to a module is harmless. A name new to a class counts if it hides an inherited one: ``mean`` of
    ``torch.Tensor`` lives in a base class.
    """
    found = {}
    for space_name, space in namespaces.items():
        now, before = dict(vars(space)), originals[space_name]
        for name in now.keys() | before.keys():
            is_now, was = now.get(name, MISSING), before.get(name, MISSING)
            hides = was is MISSING and isinstance(space, type) and any(name in vars(base) for base in space.__mro__[1:])
            replaced = is_now is not was and (hides or callable(was)) and (space_name, name) != FOLLOWS_DEFAULT_DTYPE
            if replaced and not is_torchs_own(is_now):
                found[space_name, name] = is_now
                put(space, name, was)
    return found


def is_torchs_own(function: object) -> bool:
    """Whether torch itself put the function there, as torch.compile and torch.export do with manual_seed and Module.

    Those are written in torch's folder, and are none of the functions that it offers: an answer can only put one of
    the latter, or its own, in another's place.
    """
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    offered = any(function is value for names in ORIGINALS.values() for value in names.values())
    return file.startswith(str(Path(torch.__file__).parent)) and not offered


def put(space: object, name: str, value: object) -> None:
    if value is MISSING:
        delattr(space, name)
    else:
        setattr(space, name, value)


ORIGINALS = snapshot(NAMESPACES)


# --- global state ----------------------------------------------------------------------------------------------------

def set_default_device(device: torch.device) -> None:
    if device != torch.get_default_device():
        torch.set_default_device(None if device.type == "cpu" else device)


def cuda_generators() -> list:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


# how to read a state, how to set it, and what an answer finds (None: whatever is set)
STATE = (
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (torch.get_default_device, set_default_device, None),
    (torch.is_grad_enabled, torch.set_grad_enabled, True),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, None),
    (torch.get_num_threads, torch.set_num_threads, 1),  # the tensors are tiny
    (sys.getrecursionlimit, sys.setrecursionlimit, None),
    (torch.get_rng_state, torch.set_rng_state, torch.Generator().manual_seed(0).get_state()),
    (cuda_generators, torch.cuda.set_rng_state_all, None),
    (random.getstate, random.setstate, random.Random(0).getstate()),
    (np.random.get_state, np.random.set_state, np.random.RandomState(0).get_state()),
)


def standard_state() -> None:
    """The state in which every answer, reference and mistake is called: float32, gradients on, generators seeded."""
    for _, put_state, standard in STATE:
        if standard is not None:
            put_state(standard)


# --- the room --------------------------------------------------------------------------------------------------------

class FirstCharacters(io.TextIOBase):
    """A stdout that keeps the beginning and forgets the rest."""

    def __init__(self):
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[:max(0, PRINTED_LIMIT - len(self.text))]
        return len(text)


class Room:
    """What clean_room() gives: ``run`` calls an answer and notes what it replaced and printed."""

    def __init__(self, replaced: list[str], output: FirstCharacters):
        self.replaced = replaced  # names of torch functions that had been replaced before the check
        self.tampered: list[str] = []  # names that the answer itself replaced
        self.output = output
        self.printed = ""

    def run(self, work: Callable[[], None], seconds: float) -> bool:
        """Call work(), at most for so many seconds. Returns whether it came to its end."""
        modules = course_modules()
        before = snapshot(modules)
        undo = restore  # a name that the answer cannot reach
        try:
            return limited(work, seconds)
        finally:
            self.tampered = sorted(".".join(key) for key in undo(NAMESPACES, ORIGINALS) | undo(modules, before))
            self.printed = self.output.text
            standard_state()


@contextmanager
def exit_raises() -> Iterator[None]:
    """In a notebook, exit() raises nothing and stops the kernel after the cell: let it raise SystemExit."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        yield
        return
    shell.ask_exit = sys.exit
    try:
        yield
    finally:
        del shell.ask_exit  # the class's own comes back


@contextmanager
def clean_room() -> Iterator[Room]:
    """Inside: torch's own functions, the standard state, output kept away. Afterwards everything is as before."""
    before = [get() for get, _, _ in STATE]
    found = restore(NAMESPACES, ORIGINALS)
    output = FirstCharacters()
    try:
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(output))
            stack.enter_context(redirect_stderr(output))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(exit_raises())
            stack.enter_context(torch.inference_mode(False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            standard_state()
            yield Room(sorted(".".join(key) for key in found), output)
    finally:
        for (_, put_state, _), value in zip(STATE, before):
            put_state(value)
        for (space, name), value in found.items():
            put(NAMESPACES[space], name, value)


# --- the time limit --------------------------------------------------------------------------------------------------

def limited(work: Callable[[], None], seconds: float) -> bool:
    """Call work(); raise TimeLimit in it after so many seconds, then again and again until it stops."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return (by_alarm if in_main_thread and hasattr(signal, "setitimer") else by_thread)(work, seconds)


def by_alarm(work: Callable[[], None], seconds: float) -> bool:
    def expire(*_):
        raise TimeLimit

    def interrupt(*_):
        raise UserInterrupt

    old_alarm = signal.signal(signal.SIGALRM, expire)
    old_interrupt = signal.getsignal(signal.SIGINT)
    if callable(old_interrupt):
        signal.signal(signal.SIGINT, interrupt)
    old_timer = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # again each 0.1 s: one alarm may be swallowed
    try:
        try:
            work()
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeLimit:
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm between work() and the line above would have skipped it
        return False
    except UserInterrupt:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGALRM, old_alarm)
        if callable(old_interrupt):
            signal.signal(signal.SIGINT, old_interrupt)
        signal.setitimer(signal.ITIMER_REAL, *old_timer)


def by_thread(work: Callable[[], None], seconds: float) -> bool:
    finished = []

    def target():
        try:
            work()
            finished.append(True)
        except TimeLimit:
            pass

    worker = threading.Thread(target=target, daemon=True)
    worker.start()
    worker.join(seconds)
    for _ in range(10):
        if not worker.is_alive():
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(TimeLimit))
        worker.join(0.1)
    return bool(finished)
