"""The command `z1`: what was typed becomes a command, and what is refused becomes one sentence.

A command first checks all it was given (`prepare`), then works. What is wrong at the door is one sentence and exit
code 2; what goes wrong later is a fault of the program and shows its traceback.
"""

import contextlib
import inspect
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, get_args

import torch
import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

from z1_agent.checkpoint import CheckpointError
from z1_agent.commands.ablate import Ablate
from z1_agent.commands.assets import Assets
from z1_agent.commands.demos import Demos
from z1_agent.commands.diagnose import Diagnose
from z1_agent.commands.doctor import Doctor
from z1_agent.commands.evaluate import Eval
from z1_agent.commands.export import Export
from z1_agent.commands.listing import List
from z1_agent.commands.record import Record
from z1_agent.commands.serve import Serve
from z1_agent.commands.sft import Sft
from z1_agent.commands.suite import Suite
from z1_agent.commands.train import Train
from z1_agent.console import INTERRUPTED
from z1_agent.divergence import DivergedError
from z1_agent.lerobot_policy import ExportError
from z1_agent.paligemma_tokenizer import TokenizerError
from z1_agent.presets import PRESETS, FineTuneConfig, TrainConfig, cpu, fine_tuning, on_backend
from z1_agent.pretrained import PretrainedError
from z1_agent.recipe import RecipeError, recipe_defaults
from z1_agent.run import RunError
from z1_agent.sft import SupervisedConfig
from z1_agent.start import policy_defaults
from z1_envs.demos import DemosError
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.opengl import RenderError
from z1_envs.robocasa.versions import RoboCasaError
from z1_envs.tasks import ENV_ID_PREFIX, TASKS

_REFUSALS = (
    RunError,
    RecipeError,
    CheckpointError,
    DemosError,
    RenderError,
    RoboCasaError,
    PretrainedError,
    TokenizerError,
    ExportError,
    DivergedError,
)

_ANY_TASK = next(iter(TASKS))

Command = Train | Suite | Diagnose | Ablate | Sft | Eval | Record | Demos | Serve | Export | Assets | List | Doctor


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `z1` with `argv` (the process's own, where None); returns the exit code."""
    torch.set_num_threads(1)  # small networks are faster so, and the physics has the other cores; see device.place
    words = list(sys.argv[1:] if argv is None else argv)
    if words in ([], ["-h"], ["--help"]):
        print(_overview())
        return 0
    try:
        try:
            work = _parse(words).prepare(words)
        except BrokenPipeError:  # whoever reads a help has seen enough, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at the end
            return 1
        except ValueError as error:
            return _refuse(error)
        return work()
    except _REFUSALS as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("z1: aborted", file=sys.stderr)
        return INTERRUPTED


def _overview() -> str:
    """All commands, each with the first sentence of what it says of itself."""
    lines = []
    for kind in get_args(Command):
        first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()).split(". ")[0]
        lines.append(f"  {kind.__name__.lower():10}{first.rstrip('.')}")
    return "\n".join(["usage: z1 COMMAND …", "", *lines, "", "z1 COMMAND --help says more; z1 train TASK --help too."])


def _parse(words: list[str]) -> Command:
    """Twice where a training is wanted: the defaults of its flags depend on its task, preset and recipe. All but the
    recipe are looked for in the words: `--help` shows them, and without them flags might not fit each other.
    """
    is_training = words[:1] == ["train"]
    config = _named(words)
    command = _parse_with(words, _adapted(config, words) if is_training else config)
    if isinstance(command, Train):
        config, recipe = _adapted(PRESETS[command.preset](command.task, _obs(words)), words), command.config.recipe
        command = _parse_with(words, config if recipe is None else recipe_defaults(config, recipe))
    return command


def _named(words: list[str]) -> TrainConfig:
    """The configuration of the task and preset that `words` name; where they name none, of any."""
    preset = PRESETS.get(_value_of(words, "--preset") or "cpu", cpu)
    return preset(_task_in(words) or _ANY_TASK, _obs(words))


def _obs(words: list[str]) -> ObsMode:
    return "pixels" if _value_of(words, "--obs") == "pixels" else "state"


def _task_in(words: list[str]) -> str | None:
    """The first task that `words` name."""
    return next((name for name in (word.removeprefix(ENV_ID_PREFIX) for word in words) if name in TASKS), None)


def _adapted(config: TrainConfig, words: list[str]) -> TrainConfig:
    backend, policy = _value_of(words, "--backend"), _value_of(words, "--policy")
    if backend is not None:
        config = on_backend(config, backend)
    return config if policy is None else policy_defaults(config, policy)


def _value_of(words: list[str], flag: str) -> str | None:
    """The last value that `words` give to `flag`, as "--flag value" or "--flag=value"."""
    value = None
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word == flag and not following.startswith("--"):
            value = following
        elif word.startswith(f"{flag}="):
            value = word.removeprefix(f"{flag}=")
    return value


def _parse_with(words: list[str], config: TrainConfig) -> Command:
    learning = fine_tuning(is_given=_value_of(words, "--policy") is not None)
    fine_tune = FineTuneConfig(data=tyro.MISSING, sft=learning)
    train = Train(task=tyro.MISSING, config=config)
    described_sft = _described(Sft, FineTuneConfig, SupervisedConfig)
    commands = (
        Annotated[Train, subcommand("train", default=train, description=_of_train(words))]
        | Annotated[Suite, subcommand("suite")]
        | Annotated[Diagnose, subcommand("diagnose")]
        | Annotated[Ablate, subcommand("ablate")]
        | Annotated[Sft, subcommand("sft", default=Sft(config=fine_tune), description=described_sft)]
        | Annotated[Eval, subcommand("eval")]
        | Annotated[Record, subcommand("record")]
        | Annotated[Demos, subcommand("demos")]
        | Annotated[Serve, subcommand("serve")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Assets, subcommand("assets")]
        | Annotated[List, subcommand("list")]
        | Annotated[Doctor, subcommand("doctor")]
    )
    boxes = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxes):
            return tyro.cli(commands, prog="z1", args=words, config=(FlagCreatePairsOff,))  # pyright: ignore[reportArgumentType, reportCallIssue]
    except SystemExit as left:
        if (refusal := _refusal_of_a_setting(left)) is not None:
            raise refusal from None
        sys.stderr.write(boxes.getvalue())
        raise


def _of_train(words: list[str]) -> str:
    """What `z1 train` says of itself, and whose defaults it shows where no task is named."""
    described = _described(Train, TrainConfig)
    if _task_in(words) is not None:
        return described
    return f"{described}\n\nDefaults differ by task. Shown are {_ANY_TASK}'s: z1 train TASK --help shows TASK's."


def _described(*kinds: type) -> str:
    """What `kinds` say of themselves, without what they raise and what no flag sets."""
    paragraphs = [text for kind in kinds for text in (inspect.getdoc(kind) or "").split("\n\n")]
    return "\n\n".join(text for text in paragraphs if not text.startswith(("Raises", "No flags")))


def _refusal_of_a_setting(left: SystemExit) -> ValueError | None:
    """What a config of ours raised: tyro would wrap it into a box that names its own internals."""
    error = left.__context__
    while error is not None:
        frames = list(traceback.walk_tb(error.__traceback__))
        if isinstance(error, ValueError) and frames and frames[-1][0].f_globals["__name__"].startswith("z1_"):
            return error
        error = error.__context__
    return None


def _refuse(error: Exception) -> int:
    print(f"z1: {error}", file=sys.stderr)
    return 2
