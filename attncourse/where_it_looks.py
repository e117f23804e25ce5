"""Where networks look: the blocks' own maps and Grad-CAM, scored against the objects' masks, over several seeds.

    python -m attncourse.where_it_looks --seeds 0 1 2 3 4

trains the narrow ReportCNN of :mod:`attncourse.studies` with each block on scenes and scores its maps at all four
places, before and after the training. It writes ``where-it-looks.json`` to ``--runs`` after each run; a run that is
there already is not repeated.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.backbone import MAP_WIDTHS, ReportCNN
from attncourse.bam import BAM
from attncourse.datasets.images import ImageData
from attncourse.datasets.scenes import Scenes, load_scenes, scenes
from attncourse.gates import attention_blocks, read_gates
from attncourse.gradcam import class_map, map_and_gradient
from attncourse.localization import best_iou, energy_inside, iou, pointing_game
from attncourse.studies import CONFIG, STUDIES, TEST, TRAIN, VAL, conditions
from attncourse.sweep import exit_code, sweep
from attncourse.training import Normalise, TrainConfig, seeded, train

SCORES = {"pointing game": pointing_game, "energy inside": energy_inside, "IoU at 0.5": iou, "best IoU": best_iou}
LAYERS = ("stage1.attention1", "stage1.attention2", "stage2.attention1", "stage2.attention2")  # the four places
MARGINS = (0, 1, 1, 3)  # pixels on each side that convolutions without padding have cut off at each place
NETWORKS: dict[str, Callable[[], ReportCNN]] = {
    "no attention": STUDIES["plain"]["no attention"],
    "SE": STUDIES["plain"]["SE"],
    "ECA": STUDIES["eca"]["adaptive k"],
    "SAM": STUDIES["cam-sam"]["SAM 7 × 7"],
    "CBAM": STUDIES["cbam"]["channel first"],
    "BAM": STUDIES["bam"]["d = 4, r = 4"],
    "autoencoder": STUDIES["autoencoder"]["code 48"],
    "ECA + SAM": STUDIES["hybrids"]["ECA, SAM"],
    "ECA + autoencoder": STUDIES["hybrids"]["ECA, autoencoder"],
}


def own_maps(model: nn.Module, x: Tensor) -> list[Tensor] | None:
    """Each block's map (B, h, w): its gate above its lower bound, averaged over channels; None without positions."""
    maps = [(gate - 1 if isinstance(block, BAM) else gate).mean(1)
            for block, gate in zip(attention_blocks(model), read_gates(model, x))]
    return maps if maps and maps[0][0].numel() > 1 else None


def scores(maps: list[Tensor], masks: Tensor) -> dict[str, list[Tensor]]:
    """Each score of the maps at the four places, one value per picture. A map without any energy counts as flat."""
    return {name: [score(each + 1e-9, masks, margin=margin) for each, margin in zip(maps, MARGINS)]
            for name, score in SCORES.items()}


def look(model: nn.Module, seen: Scenes, normalise: Normalise) -> dict[str, dict[str, list[float]] | None]:
    """The mean scores of the blocks' own maps and of Grad-CAM for the true class, at the four places."""
    model.eval()
    parts = {"own": [], "grad_cam": []}
    for images, labels, masks in zip(seen.images.split(500), seen.labels.split(500), seen.masks.split(500)):
        x = normalise(images)
        own = own_maps(model, x)
        parts["own"].append(own and scores(own, masks))
        parts["grad_cam"].append(scores([class_map(*map_and_gradient(model, layer, x, labels))
                                         for layer in LAYERS], masks))
    return {kind: rounded_means(batches) if batches[0] else None for kind, batches in parts.items()}


def rounded_means(batches: list[dict[str, list[Tensor]]]) -> dict[str, list[float]]:
    return {name: [round(torch.cat(place).mean().item(), 4) for place in zip(*(batch[name] for batch in batches))]
            for name in SCORES}


def references(seen: Scenes) -> dict[str, dict[str, list[float]]]:
    """What maps score that no network has made: flat, a hill in the middle of the picture, and the object itself."""
    masks, side = seen.masks.float(), seen.masks.shape[1]
    squared = (torch.arange(side) - (side - 1) / 2)**2
    hill = torch.exp(-(squared[:, None] + squared) / (2 * (side / 4)**2)).expand_as(masks)

    def at_places(pictures: Tensor) -> list[Tensor]:  # each as a map of the four places would show it
        covered = [pictures[:, None, margin:side - margin, margin:side - margin] for margin in MARGINS]
        return [F.adaptive_avg_pool2d(each, width)[:, 0] for each, width in zip(covered, MAP_WIDTHS)]

    return {name: rounded_means([scores(at_places(pictures), seen.masks)])
            for name, pictures in (("flat", torch.ones_like(masks)), ("hill", hill), ("the object itself", masks))}


def run(make: Callable[[], ReportCNN], seed: int, data: ImageData, seen: Scenes) -> dict:
    """Train one network with one seed and look at it before and after."""
    with seeded(seed):
        model = make()
    normalise = Normalise(data.mean, data.std)
    before = look(model, seen, normalise)
    record = train(model, data, TrainConfig(seed=seed, **CONFIG), progress=False)
    return {"parameters": record.parameters, "test_accuracy": record.test_accuracy,
            "before_training": before, "trained": look(model, seen, normalise)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.where_it_looks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the result (runs)")
    options = parser.parse_args(arguments)

    def work() -> None:
        data, seen = load_scenes(TRAIN, VAL, TEST), scenes(TEST, seed=(0, 2))  # seen: the test split, with its masks
        sweep(options.runs / "where-it-looks.json", conditions(data) | {"references": references(seen)}, NETWORKS,
              options.seeds, lambda make, seed: run(make, seed, data, seen),
              ["python", "-m", "attncourse.where_it_looks"])

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
