"""What others have published about the 24 tasks. Another simulator and other policies: to stand beside, not to beat.

Sources: arXiv 2606.31846 (Z-1, v1), whose categories and averages these are; the averages of others as it and their own
papers give them. Success rates in percent; None where nothing is published.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """Success before and after reinforcement learning [%]. name: a category of the tasks, or one task."""

    name: str
    sft: float | None
    rl: float | None


SIMULATOR = (
    "RoboCasa's own simulator, from images, with a policy of 3.3 billion parameters and one seed: another simulator "
    "and another policy than in the tables above, so no number here can be compared with one there."
)

Z1_AVERAGE = PublishedRow("all 24 tasks", 67.4, 80.6)

Z1_ROWS = (
    PublishedRow("doors", 93.2, 97.0),
    PublishedRow("drawers", 83.4, 96.1),
    PublishedRow("sink", 63.2, 94.3),
    PublishedRow("TurnOnSinkFaucet", 29.2, 98.4),
    PublishedRow("stove", None, 56.2),
)

# Averages of other methods over the 24 tasks [%].
OTHERS: dict[str, float] = {
    "GR00T N1": 49.6,
    "π0": 62.5,
    "GR00T N1.5": 64.1,
    "Video Policy": 66.0,
    "GR00T N1.6": 66.2,
    "FLARE": 66.4,
    "Cosmos Policy": 67.1,
    "DeVA": 72.0,
    "Xiaomi-Robotics-1": 74.5,
    "X-WAM": 79.2,
}
