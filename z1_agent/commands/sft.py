"""`z1 sft`: public weights, a checkpoint or a fresh network, fine-tuned on a dataset, in a directory to be resumed."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from z1_agent import checkpoint
from z1_agent.commands.at_the_door import check_device
from z1_agent.commands.work import Work, console
from z1_agent.console import INTERRUPTED, Stopped, StopRequest
from z1_agent.dataset import with_data
from z1_agent.finetune import fine_tune, read_material
from z1_agent.pipeline import Training
from z1_agent.presets import FineTuneConfig
from z1_agent.run import Run, check_out, open_run
from z1_agent.start import find_source


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Fine-tune a policy on a dataset, without an env: until the loss on held-out episodes stops falling.

    out: directory, by default runs/TASK-sft-SEED; its sft/ is the policy. resume: go on with the run in it. seed: of
    everything random.
    """

    out: Path | None = None
    seed: int = 0
    resume: bool = False
    config: Annotated[FineTuneConfig, arg(name="")]

    def prepare(self, argv: Sequence[str]) -> Work:
        """Reads dataset and policy, then opens the run's directory; the work is the training."""
        check_device(self.config.device)
        config = with_data(dataclasses.replace(self.config, seed=self.seed))
        if config.policy is not None:
            source = find_source(config.policy)
            config = dataclasses.replace(config, policy=str(source.path), policy_digest=source.digest())
        out = self.out or Path("runs") / f"{config.task}-sft-{config.seed}"
        check_out(out, resume=self.resume)
        is_done = self.resume and (out / "result.json").is_file()
        material = (
            None if is_done else read_material(config, goes_on=self.resume and checkpoint.exists(Run(out).checkpoint))
        )
        begun = [word for word in argv if word != "--resume"]
        run = open_run(out, config, preset="sft", command=["z1", *begun], resume=self.resume)
        training = Training(run, config, console, StopRequest())

        def work() -> int:
            try:
                result = fine_tune(training, material)
            except Stopped:
                console.print(f"Stopped; everything is in {out}. Go on with: {shlex.join(['z1', *begun, '--resume'])}")
                return INTERRUPTED
            kept = f"Round {result['best_round'] + 1} of {result['rounds']} was kept"
            loss = result["held_out_loss"]
            console.print(kept if loss is None else f"{kept}, held-out loss {loss:.4f}")
            console.print(f"Policy: {run.sft_checkpoint}\nReport: {run.report}")
            return 0

        return work
