"""Training a captioner: the batches, the loss, early stopping, and going on after an interruption."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attncourse.captioning import training
from attncourse.captioning.decoder import Captioner, DecoderConfig
from attncourse.captioning.training import (
    IGNORED,
    CaptionConfig,
    batch_loss,
    batches_of,
    mean_loss,
    pairs_of,
    targets_of,
    train_captioner,
    write,
)
from attncourse.datasets.captions import CaptionSplit, Vocabulary
from attncourse.training import seeded

SENTENCES = ("a red dog", "a blue cat sleeps", "two dogs", "a cat", "a red cat runs home", "dogs sleep")
VOCABULARY = Vocabulary(SENTENCES)
CONFIG = CaptionConfig(epochs=3, batch_size=4, lr=0.01, beam=2, longest=6)


def split(n: int) -> CaptionSplit:
    captions = tuple((SENTENCES[i % 6], SENTENCES[(i + 1) % 6]) for i in range(n))
    return CaptionSplit(tuple(f"picture {i}" for i in range(n)), captions, None)


MAPS = {"train": torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
        "val": torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))}


def captioner(**changes) -> Captioner:
    with seeded(0):
        return Captioner(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), (4,), len(VOCABULARY),
                         DecoderConfig(**{"width": 4, "state": 16, "embedding": 8} | changes))


def trained(model: Captioner, config: CaptionConfig = CONFIG, **arguments) -> dict:
    return train_captioner(model, MAPS, split(10), split(4), VOCABULARY, config, progress=False, **arguments)


def numbers(result: dict) -> list[dict]:
    """The epochs without their seconds."""
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in result["epochs"]]


def test_every_caption_is_in_one_batch():
    pairs = pairs_of(split(10), VOCABULARY, 20)
    assert len(pairs) == 20
    batches = batches_of(pairs, CONFIG, 0)
    assert [len(batch) for batch in batches] == [4] * 5
    assert sorted(pair for batch in batches for pair in batch) == sorted(pairs)


def test_the_order_depends_on_seed_and_epoch_alone():
    pairs = pairs_of(split(10), VOCABULARY, 20)
    torch.manual_seed(3)
    one = batches_of(pairs, CONFIG, 1)
    torch.manual_seed(4)
    assert one == batches_of(pairs, CONFIG, 1)
    assert one != batches_of(pairs, CONFIG, 2)
    assert one != batches_of(pairs, dataclasses.replace(CONFIG, seed=1), 1)


def test_captions_of_a_batch_are_of_similar_length():
    pairs = [(i, [3] * (1 + i % 10)) for i in range(200)]
    spread = [max(len(words) for _, words in batch) - min(len(words) for _, words in batch)
              for batch in batches_of(pairs, CONFIG, 0)]
    assert max(spread) <= 1


def test_long_captions_are_cut_and_unknown_words_said_so():
    long = CaptionSplit(("one",), (("a red dog runs home again", "a zebra"),), None)
    assert pairs_of(long, VOCABULARY, 4) == [(0, VOCABULARY.encode("a red dog")), (0, [VOCABULARY.numbers["a"], 2])]


def test_each_word_is_predicted_after_the_one_before():
    previous, target = targets_of([[5, 6], [7]])
    assert previous.tolist() == [[1, 5, 6], [1, 7, 0]]
    assert target.tolist() == [[5, 6, 0], [7, 0, IGNORED]]


def test_the_loss_is_the_mean_over_words():
    model = captioner().eval()
    batch = [(0, [5, 6]), (3, [7])]
    losses = []
    for picture, words in batch:
        logits = model(MAPS["train"][[picture]], torch.tensor([[1, *words]]))[0]
        losses += F.cross_entropy(logits, torch.tensor([*words, 0]), reduction="none").tolist()
    assert len(losses) == 5
    assert batch_loss(model, MAPS["train"], batch).item() == pytest.approx(sum(losses) / 5, rel=0.02)  # maybe bfloat16


def test_it_learns():
    model = captioner()
    before = mean_loss(model, MAPS["train"], pairs_of(split(10), VOCABULARY, 6), CONFIG)
    result = trained(model, dataclasses.replace(CONFIG, epochs=10, patience=10))
    assert result["epochs"][-1]["loss"] < 0.8 * before
    assert result["complete"]
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert not model.training
    assert set(" ".join(write(model, MAPS["val"], VOCABULARY, 2)).split()) <= set(VOCABULARY.words[3:])


def test_the_learning_rate_falls_to_zero(monkeypatch):
    rates = []
    step = training.train_step
    monkeypatch.setattr(training, "train_step", lambda model, optimizer, *rest: (
        rates.append(optimizer.param_groups[0]["lr"]), step(model, optimizer, *rest))[1])
    trained(captioner())
    assert rates == pytest.approx([0.01 * (15 - i) / 15 for i in range(15)])


def with_bleu(monkeypatch, values):
    """The validation scores of one epoch after another."""
    given = iter(values)
    monkeypatch.setattr(training, "scores", lambda *_: {"BLEU-4": next(given), "CIDEr": 0.0})


def test_it_stops_when_the_validation_score_no_longer_rises(monkeypatch):
    with_bleu(monkeypatch, [0.1, 0.3, 0.2, 0.3, 0.9])
    weights = []
    step = training.mean_loss
    monkeypatch.setattr(training, "mean_loss", lambda model, *rest: (
        weights.append({name: value.clone() for name, value in model.state_dict().items()}), step(model, *rest))[1])
    model = captioner()
    result = trained(model, dataclasses.replace(CONFIG, epochs=10))
    assert (len(result["epochs"]), result["best_epoch"], result["complete"]) == (4, 2, True)
    assert all(torch.equal(value, weights[1][name]) for name, value in model.state_dict().items())


class Killed(BaseException):
    pass


def stop_after(steps: int, error: type[BaseException], monkeypatch) -> None:
    """Let the training end with this error in the place of a later step."""
    left, step = iter(range(steps)), training.train_step

    def stopped(*arguments):
        if next(left, None) is None:
            raise error
        return step(*arguments)

    monkeypatch.setattr(training, "train_step", stopped)


@pytest.mark.parametrize(("steps", "error"), [  # in the first epoch, at its end, in the second and the third
    (2, Killed), (5, Killed), (7, KeyboardInterrupt), (12, Killed)])
def test_a_stopped_run_goes_on_with_the_same_numbers(monkeypatch, tmp_path, steps, error):
    whole, resumed, path = captioner(), captioner(), tmp_path / "run.safetensors"
    expected = trained(whole)
    with monkeypatch.context() as patch:
        stop_after(steps, error, patch)
        with pytest.raises(error):
            trained(captioner(), checkpoint=path, every=1)
    with torch.random.fork_rng():
        torch.manual_seed(99)  # another process has other random numbers
        result = trained(resumed, checkpoint=path, every=1)
    assert numbers(result) == numbers(expected)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_an_interrupted_run_without_a_checkpoint_keeps_its_finished_epochs(monkeypatch, capsys):
    stop_after(8, KeyboardInterrupt, monkeypatch)
    result = trained(captioner())
    assert (len(result["epochs"]), result["complete"]) == (1, False)
    assert "kept the 1 finished epochs" in capsys.readouterr().out
    stop_after(0, KeyboardInterrupt, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        trained(captioner())


def test_a_checkpoint_of_another_vocabulary(tmp_path):
    path = tmp_path / "run.safetensors"
    trained(captioner(), checkpoint=path)
    other = Vocabulary([*SENTENCES[:-1], "dogs snore"])
    assert len(other) == len(VOCABULARY)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"belongs to another run \(captions, vocabulary differ\)"):
        train_captioner(captioner(), MAPS, split(10), split(4), other, CONFIG, checkpoint=path, progress=False)
    assert path.read_bytes() == content


@pytest.mark.parametrize("change", [{"order": "spatial-channel"}, {"rescale": False}, {"dropout": 0.0}])
def test_a_checkpoint_of_another_captioner(tmp_path, change):
    """These have the same weights by name and number."""
    path = tmp_path / "run.safetensors"
    trained(captioner(), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to another run \(decoder differ\)"):
        trained(captioner(**change), checkpoint=path)


def test_maps_of_other_pictures():
    with pytest.raises(ValueError, match="10 maps do not fit the 9 pictures of the split train"):
        train_captioner(captioner(), MAPS, split(9), split(4), VOCABULARY, CONFIG)


def test_a_loss_that_is_not_finite():
    model = captioner()
    model.word.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="the training loss became nan: try a smaller lr"):
        trained(model)


def test_frozen_parts_stay_as_they_are():
    model = captioner()
    model.encoder.requires_grad_(False)
    before = model.encoder[0].weight.clone()
    result = trained(model)
    assert torch.equal(model.encoder[0].weight, before)
    assert result["parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
