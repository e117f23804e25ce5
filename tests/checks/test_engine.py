"""The engine: every exercise tells its mistakes apart, hostile answers do no harm, progress is kept."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks import attempts, compare, engine, guard
from attncourse.checks.cases import gradients, tensor, values
from attncourse.checks.engine import Exercise, Mistake
from attncourse.checks.se import squeeze

EXERCISES = [exercise for chapter in checks.CHAPTERS for exercise in checks.exercises(chapter)]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def right(x):
    return x.mean((2, 3))


# --- every exercise --------------------------------------------------------------------------------------------------

@every_exercise
def test_the_reference_passes_at_once(exercise):
    exercise.judge(exercise.reference)  # torch loads parts of itself on first use
    start = time.perf_counter()
    result = exercise.judge(exercise.reference)
    assert (result.status, result.cause) == ("passed", "")
    assert time.perf_counter() - start < 1.5  # about 0.05 s; the margin is for busy machines


@every_exercise
def test_every_mistake_is_told_from_the_reference_and_from_every_other(exercise):
    named = {f"{mistake.cause} {i}": exercise.judge(wrong).cause
             for mistake in exercise.mistakes for i, wrong in enumerate(mistake.wrong)}
    assert named == {f"{mistake.cause} {i}": mistake.cause
                     for mistake in exercise.mistakes for i in range(len(mistake.wrong))}


@every_exercise
def test_texts(exercise):
    """Hints are Markdown that reads well as plain text; ids are ids; messages are sentences."""
    chapter, name = exercise.id.split(".")
    assert getattr(getattr(checks, chapter), name) is exercise
    assert len(exercise.hints) == 3
    assert exercise.title
    assert not exercise.tested.endswith(".")
    for hint in exercise.hints:
        assert hint[-1] in ".?"
        assert hint.count("`") % 2 == 0
        assert not {"$", "\n", "\\"} & set(hint)
    causes = [mistake.cause for mistake in exercise.mistakes]
    assert len(set(causes)) == len(causes) >= 8
    for mistake in exercise.mistakes:
        assert mistake.cause == mistake.cause.lower()
        assert " " not in mistake.cause
        assert mistake.message[-1] in ".?"
        assert "\n" not in mistake.message


@every_exercise
def test_the_smallest_failing_input_can_be_read(exercise):
    result = exercise.judge(lambda *arguments, **named: torch.full((1,), 7.0))
    assert result.status == "failed"
    assert 0 < len(result.failing_input) < 200


@every_exercise
def test_an_untouched_stub_is_not_attempted(exercise):
    def stub(*arguments, **named):
        raise NotImplementedError

    result = exercise(stub)
    assert (result.status, result.cause, result.hint) == ("not attempted", "", "")
    assert repr(result) == f"· {exercise.id}: not attempted yet. Write your answer, then run this cell again."
    assert attempts.load() == ({}, "")


@pytest.mark.parametrize("exercise", [each for each in EXERCISES if isinstance(each.reference, type)],
                         ids=lambda exercise: exercise.id)
def test_a_stub_of_a_class_is_not_attempted(exercise):
    class MyBlock(torch.nn.Module):
        def __init__(self, *arguments, **named):
            super().__init__()
            raise NotImplementedError

    assert exercise(MyBlock).status == "not attempted"


def test_a_half_written_answer_is_an_attempt():
    def place(x, branch, se, placement):
        if placement == "standard":
            return x + se(branch(x))
        raise NotImplementedError

    result = checks.se.place(place)
    assert (result.status, result.cause) == ("failed", "not-written")


# --- diagnosis -------------------------------------------------------------------------------------------------------

def exercise_with(mistakes=(), cases=None, reference=lambda x: 2 * x):
    cases = cases or (values(x=tensor([1])), values(x=tensor([1, 2])), values(x=tensor(range(20))))
    return Exercise("toy.double", "Double", reference, cases, tuple(mistakes), ("One.", "Two.", "Three."), "values")


def test_a_mistake_must_look_like_the_answer_in_every_case():
    square = Mistake("squared", "You squared.", lambda x: x * x)
    exercise = exercise_with([square, Mistake("added-1", "You added 1.", lambda x: x + 1)],
                             (values(x=tensor([1])), values(x=tensor([3])), values(x=tensor([4]))))
    assert exercise.judge(lambda x: x ** 2).cause == "squared"
    assert exercise.judge(lambda x: x ** 2 if x < 4 else x).cause == "wrong-values"
    assert exercise.judge(lambda x: x ** 2 if x < 4 else x).failing_input == "x = [1] of shape (1,)"


def test_of_two_mistakes_at_once_one_is_named():
    """The answer doubles twice, and takes no negative numbers: each mistake shows in cases of its own."""
    doubled_again = Mistake("doubled-again", "You doubled twice.", lambda x: 4 * x)
    no_negatives = Mistake("no-negatives", "You drop negative numbers.", lambda x: 2 * x.abs())
    exercise = exercise_with([no_negatives, doubled_again], (values(x=tensor([1])), values(x=tensor([-1])),
                                                             values(x=tensor([3, 5]))))
    both = exercise.judge(lambda x: 4 * x if (x > 0).all() else 2 * x.abs())
    assert both.cause == "wrong-values"  # at -1 the first mistake does not show as it would alone
    exercise = exercise_with([no_negatives, Mistake("long-ones", "Only the first.", lambda x: 2 * x[:1])],
                             (values(x=tensor([1])), values(x=tensor([-1])), values(x=tensor([3, 5]))))
    both = exercise.judge(lambda x: 2 * x.abs()[:1])
    assert both.cause == "no-negatives"
    assert "Something else is wrong, too" in both.message
    alone = exercise.judge(lambda x: 2 * x.abs())
    assert alone.cause == "no-negatives"
    assert "Something else" not in alone.message


def test_crashes_alone_are_no_likeness():
    exercise = exercise_with([Mistake("always-crashes", "", lambda x: x.nothing),
                              Mistake("crashes-on-two", "You fail on two.", lambda x: 2 * x if len(x) != 2 else x[9])])
    assert exercise.judge(lambda x: x.something).cause == "crashed"
    assert exercise.judge(lambda x: 2 * x if len(x) != 2 else [][0]).cause == "crashes-on-two"
    assert exercise.judge(lambda x: 2 * x if len(x) != 2 else x + "text").cause == "crashed"  # another exception


def test_expected_and_got_name_the_position_in_a_large_tensor():
    result = exercise_with().judge(lambda x: torch.where(x == 17, 5, 2 * x))
    assert (result.cause, result.failing_input) == ("wrong-values", "x = a tensor of shape (20,)")
    assert result.message.endswith("At position (17,): expected 34, got 5.")


def test_a_wrong_gradient_is_named():
    exercise = exercise_with(cases=(values(x=tensor([1])), gradients(x=tensor([1, 2]))))
    assert exercise.judge(lambda x: x + x.detach()).cause == "wrong-gradient"
    assert exercise.judge(lambda x: (x + x).detach()).cause == "no-gradient"


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
                    | st.just(tensor([1, 2])) | st.just(np.ones(2)), lambda inner: st.lists(inner, max_size=3)))
def test_anything_may_be_returned(value):
    result = exercise_with().judge(lambda x: value)
    assert result.status == "failed"
    assert repr(result).startswith("✗ toy.double: ")


@pytest.mark.parametrize(("answer", "cause", "says"), [
    (lambda x: None, "returned-nothing", "did you forget `return`?"),
    (lambda x: x.numpy(), "wrong-type", "a NumPy array"),
    (lambda x: (2 * x).tolist(), "wrong-type", "Your code returned a list, and should return a tensor."),
    (lambda x: {}, "wrong-type", "a dict"),
    (lambda x: (2 * x).double(), "wrong-dtype", "The result is torch.float64, and should be torch.float32."),
    (lambda x: (2 * x).to("meta"), "wrong-device", "The result is on the device meta"),
    (lambda x: (2 * x).to_sparse(), "wrong-type", "a tensor, which is not"),
    (lambda x: 2 * x[None], "wrong-shape", "The shape is (1, 1), and should be (1,)."),
    (lambda x: x / 0, "not-finite", "The result contains NaN or infinity."),
    (lambda x: x * torch.nan, "not-finite", "got [nan]"),
    (lambda x: torch.complex(x, x), "wrong-dtype", "torch.complex64"),
    (lambda: 1, "wrong-arguments", "takes 0 positional arguments but 1 was given"),
    (lambda x, y: 1, "wrong-arguments", "missing 1 required positional argument: 'y'"),
    (lambda x: x.men(), "crashed", "AttributeError: 'Tensor' object has no attribute 'men'"),
    (lambda x: x @ torch.ones(3), "crashed", "RuntimeError: "),
    (lambda x: x.mul_(2), "mutated-input", "changed its input x in place"),
    (lambda x: sys.exit(), "exited", "your code asked Python to exit"),
])
def test_generic_causes(answer, cause, says):
    result = exercise_with().judge(answer)
    assert result.cause == cause
    assert says in result.message


@pytest.mark.parametrize("answer", [3, None, tensor([1]), "squeeze", [right]])
def test_a_result_instead_of_a_function(answer):
    result = squeeze(answer)
    assert result.cause == "not-a-function"
    assert result.message.endswith("pass what you wrote, uncalled, as in checks.se.squeeze(squeeze).")


def test_an_exception_is_named_with_the_learners_line_and_no_traceback():
    def answer(x):
        z = x.mean((2, 3))
        return z.reshape(3, 1000)

    line = answer.__code__.co_firstlineno + 2
    result = squeeze(answer)
    assert result.message == ("RuntimeError: shape '[3, 1000]' is invalid for input of size 2 "
                              f"(line {line}: `return z.reshape(3, 1000)`).")
    assert "Traceback" not in repr(result)


def test_an_exception_from_inside_torch_is_put_down_to_the_learners_line():
    result = squeeze(lambda x: F.softmax(x, dim="channels"))
    assert "F.softmax(x" in result.message


def test_messages_hold_no_addresses():
    assert "0x" not in repr(squeeze(raising(ValueError(f"not {object()}, but {right}"))))


def test_show_is_short_and_the_same_everywhere():
    assert compare.show(tensor([[-0.0, 1 / 3], [1e9, 2]])) == "[[0, 0.3333], [1e+09, 2]] of shape (2, 2)"
    assert [compare.show(value) for value in (16, 16.0, -0.0, 1e9, float("nan"), tensor(16))] == [
        "16", "16.0", "0.0", "1e+09", "nan", "16"]
    assert compare.show(torch.zeros(13)) == "a tensor of shape (13,)"
    assert compare.show([(1, 256), (2, 0.5)]) == "[(1, 256), (2, 0.5)]"


# --- hostile answers -------------------------------------------------------------------------------------------------

@pytest.fixture
def short_limit(monkeypatch):
    monkeypatch.setattr(engine, "TIME_LIMIT", 0.3)


def endless(x):
    while True:
        pass


def endless_catching(x):
    while True:
        try:
            while True:
                time.sleep(10)
        except Exception:
            pass


def endless_catching_once(x):
    try:
        while True:
            pass
    except BaseException:
        while True:
            pass


def endless_on_large_maps(x):
    while x.numel() > 100:
        x = x + 0
    return right(x)


@pytest.mark.parametrize("answer", [endless, endless_catching, endless_catching_once, endless_on_large_maps])
def test_endless_loops(answer, short_limit):
    start = time.perf_counter()
    result = squeeze(answer)
    assert result.cause == "time-limit"
    assert time.perf_counter() - start < 3
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert squeeze(right).status == "passed"


@pytest.mark.parametrize("answer", [endless, endless_catching_once])
def test_endless_loops_outside_the_main_thread(answer, short_limit):
    results = []
    thread = threading.Thread(target=lambda: results.extend([squeeze(answer), squeeze(right)]))
    thread.start()
    thread.join(20)
    assert [result.cause for result in results] == ["time-limit", ""]


def test_endless_loops_where_there_is_no_alarm(short_limit, monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    assert squeeze(endless).cause == "time-limit"
    assert squeeze(right).status == "passed"


def test_a_running_alarm_of_someone_else_goes_on():
    fired = []
    old = signal.signal(signal.SIGALRM, lambda *_: fired.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        squeeze(right)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert not fired


def test_the_learners_own_interrupt_gets_through(monkeypatch):
    monkeypatch.setattr(engine, "TIME_LIMIT", 30)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started without one
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            squeeze(endless)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, old)


def raising(error):
    def answer(x):
        raise error
    return answer


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


def recursive(x):
    return recursive(x)


@pytest.mark.parametrize(("answer", "cause"), [
    (raising(SystemExit(1)), "exited"), (raising(KeyboardInterrupt()), "interrupted"), (recursive, "endless-recursion"),
    (raising(BaseException()), "crashed"), (raising(MemoryError()), "crashed"), (raising(Unspeakable()), "crashed"),
    (raising(GeneratorExit()), "crashed"), (raising(NotImplementedError("aten::x not implemented")), "crashed"),
    (raising(StopIteration()), "crashed"), (raising(Warning("x" * 10_000)), "crashed"),
])
def test_whatever_is_raised(answer, cause):
    result = squeeze(answer)
    assert result.cause == cause
    assert len(repr(result)) < 900


def test_a_notebooks_own_exit_does_not_stop_the_kernel(monkeypatch):
    class Shell:
        stopped = False

        def ask_exit(self):
            self.stopped = True

    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert squeeze(lambda x: shell.ask_exit()).cause == "exited"
    assert not shell.stopped
    shell.ask_exit()
    assert shell.stopped


def printing(x):
    for _ in range(20_000):
        print("z" * 100)
    print("to stderr", file=sys.stderr)
    return x.mean(1)


def test_printing_is_kept_short(capsys):
    result = squeeze(printing)
    assert result.cause == "averaged-channels"
    assert result.message.splitlines()[-1].startswith("Your code printed: zzz")
    assert len(repr(result)) < 1000
    assert capsys.readouterr() == ("", "")


def test_warnings_of_the_answer_stay_away(capsys):
    assert squeeze(lambda x: warnings.warn("careful", stacklevel=1) or right(x)).status == "passed"
    assert capsys.readouterr() == ("", "")


def test_what_was_returned_cannot_be_changed_later():
    kept = []

    def answer(x):
        for returned, should_be in kept:
            returned.copy_(should_be)
        kept.append((torch.zeros_like(x), 2 * x))
        return kept[-1][0]

    assert exercise_with().judge(answer).failing_input == "x = [1] of shape (1,)"


class Liar(torch.Tensor):
    """A tensor that claims to be equal to anything."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True


def test_a_lying_tensor_is_no_tensor():
    assert squeeze(lambda x: x.as_subclass(Liar)).cause == "wrong-type"


# --- replaced functions ----------------------------------------------------------------------------------------------

REPLACED = [(torch, "sigmoid"), (torch.Tensor, "mean"), (torch, "allclose"), (F, "softmax"), (torch.Tensor, "__mul__"),
            (torch.nn.Linear, "forward"), (torch.Tensor, "detach"), (torch, "tensor")]


@pytest.mark.parametrize(("space", "name"), REPLACED)
def test_functions_replaced_before_the_check(space, name, monkeypatch):
    def broken(*arguments, **named):
        raise AssertionError("the replaced function ran")

    monkeypatch.setattr(space, name, broken)
    result, own = squeeze(right), vars(space)[name]
    monkeypatch.undo()
    assert result.status == "passed"
    assert f"{name} had been replaced in this session." in result.message
    assert own is broken  # the session is left as it was


@pytest.mark.parametrize(("space", "name"), REPLACED)
def test_functions_replaced_by_the_answer(space, name):
    before = getattr(space, name)

    def answer(x):
        z = x.mean(1)
        setattr(space, name, lambda *arguments, **named: True)
        return z

    result = squeeze(answer)
    assert result.cause == "replaced-functions"
    assert name in result.message
    assert getattr(space, name) is before or getattr(space, name) == before
    assert squeeze(right).message.count("replaced") == 0


@pytest.mark.parametrize("name", ["difference", "attempt", "plain", "CheckResult"])
def test_an_answer_that_rewrites_the_checker(name):
    def answer(x):
        setattr(engine, name, lambda *arguments, **named: None)
        return x

    before = getattr(engine, name)
    result = squeeze(answer)
    assert result.cause == "replaced-functions"
    assert getattr(engine, name) is before


def test_an_answer_that_rewrites_an_exercise():
    before = checks.se.squeeze

    def answer(x):
        checks.se.squeeze = checks.se.excite
        return x.mean(1)

    assert squeeze(answer).cause == "replaced-functions"
    assert checks.se.squeeze is before


def test_torchs_own_wrapping_of_its_functions_is_no_replacement(monkeypatch):
    """torch puts wrappers around manual_seed and nn.Module's methods when more of it is loaded."""
    wrapper = torch._disable_dynamo(guard.ORIGINALS["torch"]["manual_seed"])
    monkeypatch.setattr(torch, "manual_seed", wrapper)
    torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    assert "replaced" not in checks.se.squeeze(lambda x: x.mean((2, 3))).message
    assert torch.manual_seed is wrapper


def test_one_of_torchs_functions_in_anothers_place_is_a_replacement(monkeypatch):
    monkeypatch.setattr(torch, "relu", F.softmax)
    assert "torch.relu had been replaced" in checks.se.squeeze(lambda x: x.mean((2, 3))).message


def test_a_harmless_new_name_is_no_replacement(monkeypatch):
    monkeypatch.setattr(torch, "my_own_function", right, raising=False)
    monkeypatch.setattr(torch.Tensor, "my_own_method", right, raising=False)
    assert "replaced" not in squeeze(right).message


# --- global state ----------------------------------------------------------------------------------------------------

def state():
    return {
        "dtype": torch.get_default_dtype(), "device": torch.get_default_device(), "gradients": torch.is_grad_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(), "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(), "python": random.getstate(), "numpy": str(np.random.get_state()),
        "recursion": sys.getrecursionlimit(), "stdout": sys.stdout, "inference": torch.is_inference_mode_enabled(),
    }


def careless(x):
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(3)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    sys.setrecursionlimit(5000)
    sys.stdout = None
    return right(x)


def test_global_state_is_put_back():
    before = state()
    squeeze(careless)
    assert state() == before


def test_what_one_call_leaves_behind_does_not_reach_the_next():
    def answer(x):
        z = right(x) + torch.zeros(1)
        torch.set_default_dtype(torch.float64)
        return z

    assert squeeze(answer).status == "passed"


def test_the_sessions_own_settings_neither_disturb_nor_are_disturbed():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(5)
    try:
        with torch.no_grad(), torch.device("meta"):
            before = state()
            results = [exercise(exercise.reference, solution=True).status for exercise in EXERCISES]
            assert state() == before
        with torch.inference_mode():
            results.append(squeeze(right).status)
            assert torch.is_inference_mode_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(results) == {"passed"}


def test_a_chapter_loads_the_same_under_another_default_dtype():
    code = ("import torch; torch.set_default_dtype(torch.float64); from attncourse import checks\n"
            "print(checks.se.squeeze(lambda x: x.mean((2, 3))).status, checks.se.squeeze(lambda x: x.mean(1)).cause)")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env=dict(os.environ, CI="1")).stdout
    assert output == "passed averaged-channels\n"


# --- attempts and progress -------------------------------------------------------------------------------------------

def test_hints_come_one_by_one_and_then_the_way_to_the_solution():
    hints = [squeeze(lambda x: x).hint for _ in range(4)]
    assert hints[0] == f"Hint 1: {squeeze.hints[0]}"
    assert hints[1] == f"Hint 2: {squeeze.hints[1]}"
    assert hints[2] == hints[3] == f"Hint 3: {squeeze.hints[2]}\nThe solution is in the folded cell below."


def test_a_solution_is_nobodys_progress():
    assert squeeze(right, solution=True).status == "passed"
    assert squeeze(lambda x: x, solution=True).hint == ""
    assert attempts.load() == ({}, "")
    assert not attempts.path().exists()


def test_progress_is_kept_and_shown():
    squeeze(lambda x: x)
    squeeze(right)
    squeeze(lambda x: x)
    checks.attention.apply_gate(lambda x, s: x)
    assert json.loads(attempts.path().read_text()) == {"schema": 1, "exercises": {
        "se.squeeze": {"failures": 2, "passed": True}, "attention.apply_gate": {"failures": 1, "passed": False}}}
    lines = repr(checks.progress()).splitlines()
    table = [" ".join(line.split()) for line in lines]  # the columns are as wide as the longest name
    assert table[0] == "Your progress, kept on this computer for you alone. It is no grade: it shows what to try next."
    assert "attention: 0 of 3 passed" in table
    assert "se: 1 of 5 passed" in table
    assert "✓ se.squeeze passed, 2 failed attempts" in table
    assert "✗ attention.apply_gate not yet, 1 failed attempt" in table
    assert "· backbone.split not attempted yet" in table


def test_in_ci_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("CI", "true")
    assert [squeeze(lambda x: x).hint[:6] for _ in range(2)] == ["Hint 1", "Hint 2"]
    assert list(tmp_path.iterdir()) == []
    assert "not yet, 2 failed attempts" in repr(checks.progress())


def test_where_progress_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNCOURSE_PROGRESS", "")
    assert attempts.path() is None
    monkeypatch.delenv("ATTNCOURSE_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert attempts.path() == tmp_path / "data" / "attncourse" / "progress.json"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert attempts.path() == tmp_path / ".local" / "share" / "attncourse" / "progress.json"


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"schema": 2, "exercises": {}}', b'{"schema": 1}', b"[" * 100_000,
    b'{"schema": 1, "exercises": {"se.squeeze": {"failures": "many", "passed": true}}}',
    b'{"schema": 1, "exercises": {"se.squeeze": [1]}}', b'{"schema": 1, "exercises": 3}',
])
def test_a_damaged_file_is_kept_aside(content):
    file = attempts.path()
    file.write_bytes(content)
    result = squeeze(lambda x: x)
    assert result.hint.startswith("Hint 1")
    note = f"Your progress file was damaged: it is kept as {file}.broken, and counting starts afresh."
    assert result.message.splitlines()[-1] == note
    assert file.with_name(file.name + ".broken").read_bytes() == content
    assert squeeze(lambda x: x).hint.startswith("Hint 2")


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTNCOURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    results = [squeeze(lambda x: x) for _ in range(2)]
    assert [result.hint[:6] for result in results] == ["Hint 1", "Hint 2"]
    assert "in this session only: " in results[0].message
    assert len(results[0].message.splitlines()) == len(results[1].message.splitlines()) == 3  # one line says so
    assert "not yet, 2 failed attempts" in repr(checks.progress())


def test_a_full_disk_leaves_the_old_file(monkeypatch):
    squeeze(right)
    before = attempts.path().read_text()

    def full(path, content):
        raise OSError(28, f"could not write {path} (No space left on device); nothing was changed")

    monkeypatch.setattr(attempts, "write_atomic", full)
    assert "No space left on device" in squeeze(lambda x: x).message
    assert attempts.path().read_text() == before


def test_unknown_chapters_are_named():
    with pytest.raises(AttributeError, match="no checks for 'sse': the chapters are attention, backbone, se"):
        checks.sse  # noqa: B018
    assert set(checks.CHAPTERS) <= set(dir(checks))


def test_importing_the_package_loads_no_checks():
    code = "import sys, attncourse; assert not [name for name in sys.modules if name.startswith('attncourse.checks')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_guard_knows_what_it_watches():
    assert set(guard.NAMESPACES) == set(guard.ORIGINALS)
    assert guard.restore(guard.NAMESPACES, guard.ORIGINALS) == {}
