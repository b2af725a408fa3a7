"""Recipes: which modules of the method a task's training uses, why, and that this is fixed before the final evaluation.

    signals.py (measured by diagnose.py) → choice.py → recipe.json → `z1 train TASK --recipe auto`

A recipe carries a digest of its content. A training notes it in config.json, keeps a copy of the recipe, and evaluates
at the end only if neither has changed. Committed recipes are data of this package: recipes/TASK.json.

Source: arXiv 2606.31846 (Z-1), per-task recipes: chosen from training-stage diagnostics before the final evaluation.
"""

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from z1_agent.grpo import Branching, GrpoConfig, RewardName, ScheduleName
from z1_agent.presets import TrainConfig
from z1_agent.run import Run, differences, write_text
from z1_agent.schedules import LinearTrunk
from z1_agent.taken_over import sft_settings
from z1_agent.trainable import Trainable
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.kitchen.spaces import ObsMode

FORMAT = 2
AUTO = "auto"
RECIPE_FILE = "recipe.json"
COMMITTED = Path(__file__).parent / "recipes"
_LEARNS: dict[Trainable, str] = {
    "action_expert": "AE",
    "all": "AE+VLM",
    "action_expert_lora": "LoRA(AE)",
    "vlm_lora": "AE+LoRA(VLM)",
    "all_lora": "LoRA(AE+VLM)",
}


class RecipeError(RuntimeError):
    """A recipe that is missing, damaged, for something else, contradicted, or changed since training began."""


@dataclass(frozen=True, kw_only=True)
class Modules:
    """What a recipe decides of a GrpoConfig, under the names it has there; `trunk_start` [decisions] and `trunk_until`
    are those of its trunk."""

    branching: Branching
    schedule: ScheduleName
    trunk_start: int
    trunk_until: float
    reward: RewardName
    trainable: Trainable
    learning_rate: float
    vlm_rate_share: float

    @property
    def in_words(self) -> str:
        """Short, such as "trunk 4→0 by 50%, decay, AE". Equal words have equal effects: what has none is left out. A
        learning rate is named where it is not GrpoConfig's own."""
        lengths: dict[ScheduleName, str] = {
            "linear": f"{self.trunk_start}→0 by {100 * self.trunk_until:g}%",
            "constant": f"{self.trunk_start} throughout",
            "phase": f"up to {self.trunk_start} by phase",
            "uncertainty": f"up to {self.trunk_start} by uncertainty",
        }
        groups = self.branching if self.branching == "flat" else f"{self.branching} {lengths[self.schedule]}"
        words = [groups, self.reward, _LEARNS[self.trainable]]
        if self.learning_rate != GrpoConfig.learning_rate:
            words.append(f"rate {self.learning_rate:g}")
        if "VLM" in _LEARNS[self.trainable] and self.vlm_rate_share != 1:
            words.append(f"VLM rate × {self.vlm_rate_share:g}")
        return ", ".join(words)

    def settings(self) -> dict[str, Any]:
        """By the names of the flags, without dashes."""
        renamed = {"trunk_start": "trunk.start", "trunk_until": "trunk.until"}
        return {f"grpo.{renamed.get(name, name)}": value for name, value in asdict(self).items()}

    def applied(self, config: TrainConfig) -> TrainConfig:
        """`config` with these modules."""
        values = asdict(self)
        trunk = LinearTrunk(start=values.pop("trunk_start"), until=values.pop("trunk_until"))
        return dataclasses.replace(config, grpo=dataclasses.replace(config.grpo, trunk=trunk, **values))

    @classmethod
    def of(cls, config: TrainConfig) -> "Modules":
        """Those that `config` has."""
        grpo = config.grpo
        return cls(
            branching=grpo.branching,
            schedule=grpo.schedule,
            trunk_start=grpo.trunk.start,
            trunk_until=grpo.trunk.until,
            reward=grpo.reward,
            trainable=grpo.trainable,
            learning_rate=grpo.learning_rate,
            vlm_rate_share=grpo.vlm_rate_share,
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Modules for one task, with what they were chosen from.

    reasons: a sentence per decision. signals, thresholds: what was measured and where the rules change their mind.
    diagnosis: how it was measured. origin: commit and versions that measured.
    """

    task: str
    backend: str
    obs: ObsMode
    scene_version: int
    modules: Modules
    reasons: tuple[str, ...]
    signals: dict[str, Any]
    thresholds: dict[str, Any]
    diagnosis: dict[str, Any]
    origin: dict[str, Any]

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of format and fields as sorted, compact JSON."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """The content of recipe.json."""
        return json.dumps(self._content() | {"digest": self.digest}, indent=1, allow_nan=False) + "\n"

    def _content(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def parse_recipe(text: str, file: Path) -> Recipe:
    """The inverse of `Recipe.to_json`; `file` is what messages name.

    Raises RecipeError where it is no recipe, of another format, or its digest is another one.
    """
    try:
        given = json.loads(text)
        if given["format"] != FORMAT:
            raise RecipeError(
                f"{file} is a recipe of format {given['format']}, this program reads {FORMAT}; diagnose anew with: "
                f"z1 diagnose {given['task']}"
            )
        fields = {name: given[name] for name in (field.name for field in dataclasses.fields(Recipe))}
        fields |= {"modules": Modules(**given["modules"]), "reasons": tuple(given["reasons"])}
        recipe, digest = Recipe(**fields), given["digest"]
    except (ValueError, KeyError, TypeError):
        raise RecipeError(
            f"{file} is no recipe of this program, or was cut short; make one with: z1 diagnose TASK"
        ) from None
    if recipe.digest != digest:
        raise RecipeError(
            f"{file} was edited: it says digest {digest}, its content makes {recipe.digest}; a recipe is measured, "
            f"diagnose anew with: z1 diagnose {recipe.task}"
        )
    return recipe


def find_recipe(given: str, task: str) -> Recipe:
    """The recipe of `task` that `given` names: "auto" for the committed one, a file, or a folder with TASK.json.

    Raises RecipeError where there is none, or it is for another task.
    """
    file = COMMITTED / f"{task}.json" if given == AUTO else Path(given)
    if file.is_dir():
        file = file / f"{task}.json"
    try:
        recipe = parse_recipe(file.read_text(encoding="utf-8"), file)
    except OSError:
        what = f"no recipe is committed for {task}" if given == AUTO else f"there is no recipe {file}"
        raise RecipeError(
            f"{what}; make one with: z1 diagnose {task} --out DIRECTORY, then give --recipe DIRECTORY/{RECIPE_FILE}, "
            f"or leave out --recipe"
        ) from None
    except UnicodeDecodeError:
        raise RecipeError(f"{file} is no recipe of this program; make one with: z1 diagnose {task}") from None
    if recipe.task != task:
        raise RecipeError(
            f"{file} is the recipe of {recipe.task}, this is {task}; diagnose it with: z1 diagnose {task}"
        )
    return recipe


def recipe_defaults(config: TrainConfig, given: str) -> TrainConfig:
    """`config` with the modules of the recipe `given`, where nothing else is asked for.

    Raises what `find_recipe` raises.
    """
    return dataclasses.replace(find_recipe(given, config.task).modules.applied(config), recipe=given)


def with_recipe(config: TrainConfig) -> TrainConfig:
    """`config` with the digest of its recipe, once that has been found to fit.

    Raises RecipeError for a recipe of another task, backend, kind of observation or scene version, for another SFT or
    other episodes than were diagnosed, and where `config` says something else than its recipe.
    """
    if config.recipe is None:
        return config
    for flag, value in (("--policy", config.policy), ("--demos", config.demos)):
        if value is not None:
            raise RecipeError(
                f"a recipe is chosen by what SFT on the expert's demonstrations reaches, which says nothing about "
                f"{flag} {value}; leave out --recipe, or {flag}"
            )
    recipe = find_recipe(config.recipe, config.task)
    for name, of_recipe, here in (
        ("backend", recipe.backend, config.backend),
        ("obs", recipe.obs, config.obs),
        ("scene version", recipe.scene_version, SCENE_VERSION),
    ):
        if of_recipe != here:
            raise RecipeError(
                f"the recipe was diagnosed with {name} {of_recipe!r}, this is {here!r}: what was measured there says "
                f"nothing here; diagnose anew with z1 diagnose {config.task}, or leave out --recipe"
            )
    _check_measured_alike(recipe, config)
    chosen, asked = recipe.modules.settings(), Modules.of(config).settings()
    against = [f"{name} = {chosen[name]!r}, not {asked[name]!r}" for name in chosen if chosen[name] != asked[name]]
    if against:
        raise RecipeError(f"the recipe chooses {'; '.join(against)}: leave out either that setting or --recipe")
    given = config.recipe if config.recipe == AUTO else str(Path(config.recipe).resolve())
    return dataclasses.replace(config, recipe=given, recipe_digest=recipe.digest)


def measured_settings(config: TrainConfig) -> dict[str, Any]:
    """What the signals hang on, as JSON has it: all that decides SFT and episodes, but for seed and device."""
    settings = sft_settings(asdict(config))
    return {name: value for name, value in settings.items() if name not in ("seed", "device")}


def _check_measured_alike(recipe: Recipe, config: TrainConfig) -> None:
    here = measured_settings(config)
    there = recipe.diagnosis.get("settings", here)
    if different := differences({name: there.get(name) for name in here}, here):
        raise RecipeError(
            f"the recipe was diagnosed with other settings: {'; '.join(different)}; what was measured there says "
            f"nothing here: leave out --recipe, or what changes them"
        )


def keep_recipe(config: TrainConfig, run: Run) -> None:
    """Leaves a copy of the recipe of `config`, if it has one, in a `run` that has not yet begun.

    Raises RecipeError where it has changed since `config` was made.
    """
    if config.recipe is not None and not run.recipe.exists() and not run.log():
        write_text(run.recipe, _unchanged(config, config.recipe).to_json())


def check_fixed(config: TrainConfig, run: Run) -> None:
    """Before the final evaluation of `run`: raises RecipeError where its recipe has changed since training began.

    The recipe that was given must be the same too, not the run's copy alone: else one could train first, and then write
    down as chosen what has worked.
    """
    noted = run.about()["config"].get("recipe_digest")  # runs of older versions have none
    if noted != config.recipe_digest:
        raise _changed(config, f"config.json says {noted}")
    if config.recipe is None:
        return
    if not run.recipe.exists():
        raise _changed(config, f"{run.recipe} is gone")
    _unchanged(config, str(run.recipe))
    _unchanged(config, config.recipe)


def _unchanged(config: TrainConfig, given: str) -> Recipe:
    recipe = find_recipe(given, config.task)
    if recipe.digest != config.recipe_digest:
        raise _changed(config, f"{given} has {recipe.digest}")
    if recipe.modules != Modules.of(config):
        raise _changed(config, "its modules are not those that were trained")
    return recipe


def _changed(config: TrainConfig, what: str) -> RecipeError:
    return RecipeError(
        f"the recipe of {config.task} has changed since training began with {config.recipe_digest}: {what}. It is "
        f"fixed before the final evaluation; put the old one back and add --resume, or train anew with another --out"
    )
