"""One of the two processes of test_rollback.py: `facegan`, but the last process spoils its critic once."""

from __future__ import annotations

from typing import Any

import torch

from facegan.cli.app import main
from facegan.training.trainer import Trainer

SPOILED_STEP = 7
compute = Trainer.compute


def spoiled(self: Trainer, *inputs: Any) -> Any:
    metrics = compute(self, *inputs)
    last = self.world.rank == self.world.size - 1
    if last and self.step_number == SPOILED_STEP and self.rollbacks == 0:
        with torch.no_grad():
            self.critic.score.weight[0, 0] = float("nan")
    return metrics


if __name__ == "__main__":
    Trainer.compute = spoiled
    main()
