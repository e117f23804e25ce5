"""Table 1 of the report: nine networks, what it says of their accuracy and of their size.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023, table 1: test accuracy
on CIFAR-10, mean and standard deviation over 16 runs.
"""

from typing import NamedTuple

RUNS = 16  # of each network


class Reported(NamedTuple):
    """A row of the report's table 1."""

    mean: float  # test accuracy
    std: float  # over the runs; by np.std, which divides by n
    parameters: float  # in millions


REPORTED = {
    "cnn": Reported(0.667, 0.018, 2.62),
    "cnn+eca": Reported(0.667, 0.023, 2.62),
    "cnn+cbam": Reported(0.642, 0.026, 2.63),
    "cnn-three-stages": Reported(0.665, 0.026, 3.51),
    "cnn+autoencoder": Reported(0.675, 0.020, 2.92),
    "cnn+eca+autoencoder": Reported(0.665, 0.018, 2.92),
    "cnn+linear-autoencoder": Reported(0.602, 0.026, 2.72),
    "cnn+eca+linear-autoencoder": Reported(0.607, 0.032, 2.72),
    "cnn+eca+sam": Reported(0.669, 0.014, 2.63),
}
