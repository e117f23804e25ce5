"""Train captioners, score them, and caption pictures:

    python -m attncourse.captioning train --data flickr8k --seeds 0
    python -m attncourse.captioning evaluate runs/captions-flickr8k-C-S-seed0.safetensors
    python -m attncourse.captioning caption photo.jpg

``train`` writes a study (``captions-flickr8k.json``) and each run's weights to ``--runs``. A run that is there already
is not repeated; one that was interrupted goes on.
"""

import argparse
import os
import shlex
import sys
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attncourse.atomic import write_atomic
from attncourse.captioning.decoder import Captioner, DecoderConfig
from attncourse.captioning.encoder import cached_maps, captioner
from attncourse.captioning.landing import ideal, inside, right_words
from attncourse.captioning.scores import MEASURES, scores
from attncourse.captioning.storage import caption, load_captioner, packed
from attncourse.captioning.training import CaptionConfig, train_captioner, write
from attncourse.datasets.captions import CaptionData, Vocabulary
from attncourse.datasets.flickr8k import load_flickr8k
from attncourse.datasets.scenes import load_captioned_scenes, scenes
from attncourse.sweep import exit_code, sweep
from attncourse.training import seeded
from attncourse.weights import enter

VARIANTS = {"C-S": ("channel-spatial", 1), "S-C": ("spatial-channel", 1), "C": ("channel", 1), "S": ("spatial", 1),
            "none": ("none", 1), "C-S, two layers": ("channel-spatial", 2), "C-S, three layers": ("channel-spatial", 3)}
SETTINGS = {"flickr8k": (DecoderConfig(), CaptionConfig()),
            "scenes": (DecoderConfig(width=64, state=128, embedding=64, dropout=0.0),
                       CaptionConfig(epochs=8, patience=8))}
AT_LEAST = {"flickr8k": 5, "scenes": 1}  # times a word occurs in the training captions, or it becomes <unknown>
SCENES = (4_000, 500, 500)  # to train, validate and test
SIDE = 64  # pixels of a scene
ROUNDING = 0.003  # of BLEU-4, in half precision
FIRST = 12  # test pictures whose captions a run keeps


def load(name: str, root: str | None) -> CaptionData:
    return load_flickr8k(root) if name == "flickr8k" else load_captioned_scenes(*SCENES, SIDE)


def maps_of(name: str, data: CaptionData, part: str, layers: int, folder: Path) -> Tensor:
    """What the encoder of a captioner takes: maps of the pretrained network, or scenes themselves."""
    split = getattr(data, part)
    return cached_maps(folder / "maps", split, layers) if name == "flickr8k" else split.read(range(len(split)))


def run(variant: tuple[str, int], seed: int, name: str, title: str, data: CaptionData, config: CaptionConfig,
        folder: Path) -> dict:
    """Train one captioner with one seed, keep its weights, and score it on the test split."""
    order, layers = variant
    decoder = replace(SETTINGS[name][0], order=order)
    vocabulary = Vocabulary((caption for each in data.train.captions for caption in each), AT_LEAST[name])
    with seeded(seed):
        model = captioner(name, len(vocabulary), decoder, layers)
    maps = {part: maps_of(name, data, part, layers, folder) for part in ("train", "val", "test")}
    stem = folder / f"captions-{name}-{title}-seed{seed}"
    result = train_captioner(model, maps, data.train, data.val, vocabulary, replace(config, seed=seed),
                             checkpoint=stem.with_suffix(".checkpoint"))
    said = write(model, maps["test"], vocabulary, config.beam)
    result |= {"test": scores(said, data.test.captions), "captions": dict(zip(data.test.names[:FIRST], said))}
    if name == "scenes":
        result |= where_words_land(model, maps["test"], said, [each[0] for each in data.test.captions], vocabulary)
    about = {"data": name, "layers": layers, "decoder": asdict(decoder), "test": result["test"]}
    write_atomic(stem.with_suffix(".safetensors"), packed(model, vocabulary, about))
    stem.with_suffix(".checkpoint").unlink()
    return result


def where_words_land(model: Captioner, images: Tensor, said: list[str], true: list[str],
                     vocabulary: Vocabulary) -> dict:
    """Which words are right, and how much of their maps lies on the shape, or on the shape of the next scene."""
    masks = scenes(len(images), SIDE, (0, 2)).masks  # of the test split
    return {"right": right_words(said, true), "inside": inside(model, images, masks, true, vocabulary),
            "inside_next": inside(model, images, masks.roll(-1, 0), true, vocabulary)}


def train(options: argparse.Namespace) -> None:
    data = load(options.data, options.root)
    decoder, config = SETTINGS[options.data]
    config = config if options.epochs is None else replace(config, epochs=options.epochs)
    conditions = {"dataset": data.name,
                  "pictures": {part: len(getattr(data, part)) for part in ("train", "val", "test")},
                  "words_at_least": AT_LEAST[options.data], "decoder": asdict(decoder),
                  "config": {key: value for key, value in asdict(config).items() if key != "seed"},
                  "references": dict(zip(data.test.names[:FIRST], map(list, data.test.captions)))}
    if options.data == "scenes":
        masks = scenes(SCENES[2], SIDE, (0, 2)).masks
        conditions |= {"area": masks.float().mean().item(), "ideal": ideal(masks)}
    command = ["python", "-m", "attncourse.captioning", "train", "--data", options.data,
               "--variants", *options.variants, *([] if options.epochs is None else ["--epochs", str(options.epochs)])]
    variants = {title: partial(run, VARIANTS[title], title=title) for title in options.variants}
    sweep(options.runs / f"captions-{options.data}.json", conditions, variants, options.seeds,
          lambda make, seed: make(seed=seed, name=options.data, data=data, config=config, folder=options.runs),
          command, headline=lambda each: f"BLEU-4 {each['test']['BLEU-4']:.3f}")


def evaluation(weights: Path | None, options: argparse.Namespace, part: str, beam: int) -> tuple[str, dict[str, float]]:
    """What was measured on, and the scores."""
    model, vocabulary, about = load_captioner(weights)
    data = load(about["data"], options.root)
    said = write(model, maps_of(about["data"], data, part, about["layers"], options.runs), vocabulary, beam)
    return f"{data.name}, {part} split, {len(said)} pictures, beam {beam}", scores(said, getattr(data, part).captions)


def evaluate(options: argparse.Namespace) -> None:
    title, found = evaluation(options.weights, options, options.split, options.beam)
    print(title)
    for measure in MEASURES:
        print(f"{measure:8} {found[measure]:.3f}")


def ship(options: argparse.Namespace) -> None:
    """Enter a captioner in half precision into the course's weights, if it scores as its run did."""
    model, vocabulary, about = load_captioner(options.weights)
    content = packed(model, vocabulary, about, torch.float16)
    with tempfile.TemporaryDirectory() as folder:
        half = write_atomic(Path(folder) / "half.safetensors", content)
        found, wanted = (each["BLEU-4"] for each in
                         (evaluation(half, options, "test", CaptionConfig.beam)[1], about["test"]))
    if abs(found - wanted) > ROUNDING:
        raise ValueError(f"not shipped: in half precision BLEU-4 is {found:.4f}, the run had {wanted:.4f}")
    path = enter(f"captioner-{about['data']}", content,
                 shlex.join(["python", "-m", "attncourse.captioning", "ship", options.weights.name]),
                 f"captions-{about['data']}")
    print(f"wrote {path} (test BLEU-4 {found:.4f}, in single precision {wanted:.4f})")


def describe(options: argparse.Namespace) -> None:
    for picture in options.pictures:
        print(f"{picture}: {caption(picture, options.beam, options.weights).text}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.captioning", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="train | evaluate | ship | caption")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with Flickr8k")
    common.add_argument("--runs", type=Path, default=Path("runs"), help="folder for results, weights and maps (runs)")
    search = argparse.ArgumentParser(add_help=False)
    search.add_argument("--beam", type=int, default=CaptionConfig.beam, help="width of the beam search (3)")

    train_parser = commands.add_parser("train", parents=[common], help="train captioners with several seeds")
    train_parser.add_argument("--data", choices=("flickr8k", "scenes"), default="flickr8k")
    train_parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["C-S", "none"],
                              help="default: C-S none")
    train_parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    train_parser.add_argument("--epochs", type=int, help="at most (default: 6, scenes 8)")
    train_parser.set_defaults(work=train)

    evaluate_parser = commands.add_parser("evaluate", parents=[common, search], help="score a trained captioner")
    evaluate_parser.add_argument("weights", type=Path)
    evaluate_parser.add_argument("--split", choices=("val", "test"), default="test")
    evaluate_parser.set_defaults(work=evaluate)

    ship_parser = commands.add_parser("ship", parents=[common], help="put a captioner among the course's weights")
    ship_parser.add_argument("weights", type=Path)
    ship_parser.set_defaults(work=ship)

    caption_parser = commands.add_parser("caption", parents=[search], help="write a sentence about each picture")
    caption_parser.add_argument("pictures", nargs="+", type=Path)
    caption_parser.add_argument("--weights", type=Path, help="default: the captioner that ships with the course")
    caption_parser.set_defaults(work=describe)

    options = parser.parse_args(arguments)
    return exit_code(lambda: options.work(options))


if __name__ == "__main__":
    sys.exit(main())
