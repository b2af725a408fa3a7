"""`z1 diagnose`: what decides a task's recipe is measured, and the recipe is written."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from z1_agent import doctor
from z1_agent.choice import Thresholds, choose
from z1_agent.commands.at_the_door import check_at_least_1, check_not_negative
from z1_agent.commands.work import Work, console
from z1_agent.console import INTERRUPTED, Stopped, StopRequest
from z1_agent.diagnose import Diagnosis, measure
from z1_agent.pipeline import Training
from z1_agent.presets import PRESETS, TrainConfig
from z1_agent.recipe import Recipe, measured_settings, parse_recipe
from z1_agent.run import Run, RunError, open_run, origin, write_text
from z1_agent.signals import Signals
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.kitchen.spaces import ObsMode


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Measure a task on the embedded kitchen, choose the modules of its training, and write them to OUT/recipe.json,
    for `z1 train TASK --recipe OUT/recipe.json`.

    preset: of the training to be decided. seed: of SFT, GRPO and the episodes watched. out: directory, by default
    runs/diagnose-TASK-PRESET-SEED. resume: go on with the SFT in it, the rest is measured anew; where all has been
    measured, apply the rules to it again. obs: what the policy
    sees; image_px is read for pixels, those of the probe too. episodes: watched, of each policy. iterations: of early
    GRPO. probe_pixels: do SFT a second time from pixels (with --obs pixels: from privileged state), to see whether
    perception limits; that takes minutes. threads: of the physics, by default all cores. rules: where the choice
    changes its mind; the paper publishes no such numbers.
    """

    task: Positional[str]
    preset: Literal["cpu", "smoke"] = "cpu"
    seed: int = 0
    out: Path | None = None
    resume: bool = False
    obs: ObsMode = "state"
    image_px: int = 64
    episodes: int = 128
    iterations: int = 10
    probe_pixels: bool = False
    threads: int | None = None
    rules: Thresholds = field(default_factory=Thresholds)

    def prepare(self, argv: Sequence[str]) -> Work:
        """Opens the directory, a run's; the work is the measuring."""
        flags = {"--episodes": self.episodes, "--iterations": self.iterations, "--threads": self.threads}
        for flag, number in flags.items():
            check_at_least_1(flag, number)
        check_not_negative("--seed", self.seed)
        config = replace(PRESETS[self.preset](self.task, self.obs), seed=self.seed, image_px=self.image_px)
        out = self.out or Path("runs") / f"diagnose-{config.task}-{self.preset}-{self.seed}"
        file = Run(out).recipe
        if file.exists() and not self.resume:
            raise RunError(
                f"{file} is there already: it is measured; add --resume to apply the rules to that again, or give "
                f"another --out to measure anew"
            )
        if self.probe_pixels or self.obs == "pixels":
            replace(config, obs="pixels")  # refuses images that the network's patches do not tile
            doctor.draw_test_frame()
        begun = ["z1", *(word for word in argv if word != "--resume")]
        run = open_run(out, config, preset=self.preset, command=begun, resume=self.resume)
        diagnosis = Diagnosis(
            training=Training(run, config, console, StopRequest(), self.threads),
            episodes=self.episodes,
            iterations=self.iterations,
            with_probe=self.probe_pixels,
        )
        how = {
            "preset": self.preset,
            "seed": self.seed,
            "image_px": self.image_px,
            "episodes": self.episodes,
            "iterations": self.iterations,
            "probe_pixels": self.probe_pixels,
        }
        measured = _measured(file, how) if file.exists() else None

        def work() -> int:
            try:
                signals = measure(diagnosis) if measured is None else Signals.from_json(measured.signals)
            except Stopped:
                console.print(f"Stopped; SFT is in {out}. Go on with: {shlex.join([*begun, '--resume'])}")
                return INTERRUPTED
            by = origin() if measured is None else measured.origin
            recipe = _recipe(config, signals, self.rules, how | {"settings": measured_settings(config)}, by)
            write_text(file, recipe.to_json())
            for reason in recipe.reasons:
                console.print(reason)
            console.print(f"Recipe {recipe.digest}: {file}")
            return 0

        return work


def _recipe(
    config: TrainConfig, signals: Signals, rules: Thresholds, how: dict[str, Any], by: dict[str, Any]
) -> Recipe:
    """What `rules` choose for a training with `config`; how and by which program `signals` were measured."""
    choice = choose(signals, config, rules)
    return Recipe(
        task=config.task,
        backend=BACKEND,
        obs=config.obs,
        scene_version=SCENE_VERSION,
        modules=choice.modules,
        reasons=choice.reasons,
        signals=signals.to_json(),
        thresholds=asdict(rules),
        diagnosis=how,
        origin=by,
    )


def _measured(file: Path, how: Mapping[str, Any]) -> Recipe:
    """The recipe in `file`. Raises RunError where it was not measured so, or in other scenes."""
    recipe = parse_recipe(file.read_text(encoding="utf-8"), file)
    there = recipe.diagnosis | {"scene_version": recipe.scene_version}
    for name, value in {**how, "scene_version": SCENE_VERSION}.items():
        if there.get(name) != value:
            raise RunError(
                f"{file} was measured with {name} {there.get(name)!r}, this is {value!r}; give another --out to "
                f"measure anew"
            )
    return recipe
