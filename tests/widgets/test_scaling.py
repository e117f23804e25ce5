"""The numbers and words of the scaling chapter's widget."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attncourse.backbone import ReportCNN
from attncourse.roofline import Machine, Operation, operations
from attncourse.widgets.scaling import (
    IMAGES,
    LIMITS,
    SEEDS,
    StepLimits,
    seconds_by_limit,
    time_in_words,
    with_images,
)

QUICK = Machine("quick", launch=1.0, bandwidth=100.0, rate=1000.0)
SLOW = Machine("slow", launch=0.001, bandwidth=10.0, rate=10.0)
TWO = [Operation("a", 0, 40), Operation("b", 600, 10), Operation("c", 0, 2)]
FOUR = [Operation("a", 0, 80), Operation("b", 1200, 20), Operation("c", 0, 2)]


def numbers(widget):
    return np.frombuffer(widget.data, "<f4").reshape(widget.shape)


def widget(**shown):
    return StepLimits([QUICK, SLOW], {"some": (TWO, FOUR), "other": (TWO, TWO)}, **shown)


def test_a_step_grows_in_a_straight_line():
    assert with_images(TWO, FOUR, 2) == TWO
    assert with_images(TWO, FOUR, 4) == FOUR
    assert with_images(TWO, FOUR, 128) == [("a", 0, 2560), ("b", 38400, 640), ("c", 0, 2)]


@pytest.mark.parametrize("images", [3, 8])
def test_it_is_what_a_real_step_does(images):
    model = ReportCNN(widths=(4, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(images):
        loss = F.cross_entropy(model(torch.ones(images, 3, 32, 32)), torch.zeros(images, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    two, four, real = (operations(lambda: step(count)) for count in (2, 4, images))  # noqa: B023
    assert with_images(two, four, images) == real


def test_steps_of_different_operations_are_refused():
    with pytest.raises(ValueError, match="must consist of the same operations"):
        with_images(TWO, FOUR[:2], 8)


def test_each_operation_counts_for_what_holds_it_up():
    assert seconds_by_limit(QUICK, TWO, 1) == {"launch": 3.0, "memory": 0, "compute": 0}
    assert seconds_by_limit(SLOW, TWO, 1) == pytest.approx({"launch": 0, "memory": 4.2, "compute": 60})


def test_seeds_share_the_starts_and_nothing_else():
    assert seconds_by_limit(QUICK, TWO, 2) == {"launch": 1.0, "memory": 0, "compute": 0.6}
    assert seconds_by_limit(SLOW, TWO, 32) == pytest.approx(seconds_by_limit(SLOW, TWO, 1))


@pytest.mark.parametrize(("seconds", "words"), [
    (2.5e-6, "2.5 µs"), (123.4e-6, "123 µs"), (0.00338, "3.38 ms"), (0.65, "650 ms"), (59, "59 s"), (90, "1.5 minutes"),
    (5400, "1.5 hours"), (86400 * 400, "400 days"),
])
def test_times_in_words(seconds, words):
    assert time_in_words(seconds) == words


def test_the_front_end_gets_every_second():
    sent = numbers(widget())
    assert sent.shape == (2, 2, len(IMAGES), len(SEEDS), len(LIMITS))
    for (m, machine), (n, step), (b, images), (k, K) in itertools.product(
            enumerate([QUICK, SLOW]), enumerate([(TWO, FOUR), (TWO, TWO)]), enumerate(IMAGES), enumerate(SEEDS)):
        expected = seconds_by_limit(machine, with_images(*step, images), K)
        np.testing.assert_allclose(sent[m, n, b, k], list(expected.values()), rtol=1e-6)


def test_the_summary_says_what_holds_the_step_up():
    shown = widget(images=8)
    assert shown.chosen == {"machine": "quick", "network": "some", "images": "8", "seeds": "1"}
    assert shown.summary == (  # a: 160 bytes, 1.6 s; b: 2,400 FLOPs, 2.4 s; c: a start
        "quick, some, 8 images a step, 1 seed side by side: if every operation is started by itself and every map goes "
        "through memory, a step takes at least 5 s for each seed; with 32 seeds side by side it could become "
        "0.81 of that. Starts hold up 20% of it, bytes 32%, FLOPs 48%. 288 runs of 10 "
        "epochs would take at least 938 days."
    )
    shown.state = {"seeds": 1}
    assert "2 seeds side by side: " in shown.summary
    assert "a step takes at least 4.5 s for each seed; 0.90 of the time that it takes alone" in shown.summary


def test_the_picture_has_a_bar_for_each_number_of_seeds_and_limit():
    (axis,) = widget(images=8).picture().axes
    widths = np.array([patch.get_width() for patch in axis.patches]).reshape(len(LIMITS), len(SEEDS))
    np.testing.assert_allclose(widths.T, numbers(widget())[0, 0, 0], rtol=1e-6)
    assert "5 s" in [text.get_text() for text in axis.texts]


@pytest.mark.parametrize(("shown", "message"), [
    ({"machine": "T5"}, "machine must be one of quick, slow, got 'T5'"),
    ({"images": 9}, "images must be one of 8, 32, 128, 512, got 9"),
    ({"seeds": 3}, "seeds must be one of 1, 2, 4, 8, 16, 32, got 3"),
])
def test_what_cannot_be_shown(shown, message):
    with pytest.raises(ValueError, match=message):
        widget(**shown)
