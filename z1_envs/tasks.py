"""The 24 atomic RoboCasa tasks: the rows from which every registration derives.

Sources: RoboCasa v0.2 `environments/kitchen/single_stage` (names, instructions) and `utils/dataset_registry.py`
(horizons); RoboCasa v1.0.1 for the new names. Instructions are v0.2's: lower case, no full stop.
"""

import difflib
from dataclasses import dataclass

ENV_ID_PREFIX = "Z1-RoboCasa-"


@dataclass(frozen=True)
class Task:
    """One atomic task.

    name: RoboCasa v0.2's name, ours too. category: the paper's grouping. instruction: template whose braces the
    scene fills. horizon: maximum length of an episode [steps of 50 ms], v0.2's. name_v1: RoboCasa v1.0's name.
    """

    name: str
    category: str
    instruction: str
    horizon: int
    name_v1: str

    @property
    def env_id(self) -> str:
        """The id to pass to `gymnasium.make`."""
        return ENV_ID_PREFIX + self.name


_ROWS = (
    Task("PnPCounterToCab", "pick and place", "pick the {obj} from the counter and place it in the cabinet", 500,
         "PickPlaceCounterToCabinet"),
    Task("PnPCabToCounter", "pick and place", "pick the {obj} from the cabinet and place it on the counter", 500,
         "PickPlaceCabinetToCounter"),
    Task("PnPCounterToSink", "pick and place", "pick the {obj} from the counter and place it in the sink", 700,
         "PickPlaceCounterToSink"),
    Task("PnPSinkToCounter", "pick and place",
         "pick the {obj} from the sink and place it on the {cont} located on the counter", 500,
         "PickPlaceSinkToCounter"),
    Task("PnPCounterToMicrowave", "pick and place", "pick the {obj} from the counter and place it in the microwave",
         600, "PickPlaceCounterToMicrowave"),
    Task("PnPMicrowaveToCounter", "pick and place",
         "pick the {obj} from the microwave and place it on {cont} located on the counter", 500,
         "PickPlaceMicrowaveToCounter"),
    Task("PnPCounterToStove", "pick and place", "pick the {obj} from the plate and place it in the {cont}", 500,
         "PickPlaceCounterToStove"),
    Task("PnPStoveToCounter", "pick and place", "pick the {obj} from the {obj_cont} and place it {prep} the {cont}",
         500, "PickPlaceStoveToCounter"),
    Task("OpenSingleDoor", "doors", "open the {fixture} door", 500, "OpenCabinet"),
    Task("CloseSingleDoor", "doors", "close the {fixture} door", 500, "CloseCabinet"),
    Task("OpenDoubleDoor", "doors", "open the cabinet doors", 1000, "OpenCabinet"),
    Task("CloseDoubleDoor", "doors", "close the cabinet doors", 700, "CloseCabinet"),
    Task("OpenDrawer", "drawers", "open the {side} drawer", 500, "OpenDrawer"),
    Task("CloseDrawer", "drawers", "close the {side} drawer", 500, "CloseDrawer"),
    Task("TurnOnStove", "stove", "turn on the {burner} burner of the stove", 500, "TurnOnStove"),
    Task("TurnOffStove", "stove", "turn off the {burner} burner of the stove", 500, "TurnOffStove"),
    Task("TurnOnSinkFaucet", "sink", "turn on the sink faucet", 500, "TurnOnSinkFaucet"),
    Task("TurnOffSinkFaucet", "sink", "turn off the sink faucet", 500, "TurnOffSinkFaucet"),
    Task("TurnSinkSpout", "sink", "turn the sink spout to the {side}", 500, "TurnSinkSpout"),
    Task("CoffeePressButton", "coffee", "press the button on the coffee machine to serve coffee", 300,
         "StartCoffeeMachine"),
    Task("TurnOnMicrowave", "microwave", "press the start button on the microwave", 500, "TurnOnMicrowave"),
    Task("TurnOffMicrowave", "microwave", "press the stop button on the microwave", 500, "TurnOffMicrowave"),
    Task("CoffeeServeMug", "coffee",
         "pick the {obj} from under the coffee machine dispenser and place it on the counter", 600, "CoffeeServeMug"),
    Task("CoffeeSetupMug", "coffee",
         "pick the {obj} from the counter and place it under the coffee machine dispenser", 600, "CoffeeSetupMug"),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def get_task(name: str) -> Task:
    """The task called `name`; an env id is understood too.

    Raises ValueError that offers the nearest names where there is no such task.
    """
    bare = name.removeprefix(ENV_ID_PREFIX)
    if bare in TASKS:
        return TASKS[bare]
    nearest = difflib.get_close_matches(bare, TASKS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`z1 list` shows all 24."
    raise ValueError(f"unknown task {name!r}: {hint}")
