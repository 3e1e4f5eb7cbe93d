"""Program of each process of a group: trains as its request says, and answers the trajectory."""

import json
import sys
from pathlib import Path

import torch

from capsbench.executors.group import answer_file
from capsbench.names import find
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.train import train
from capsbench.viewpoint.ranges import ViewRange


def trajectory(request, state):
    """Train a model on digits; a validation after each step gives the loss of each."""
    recipe = ProtocolRecipe(
        steps=request["steps"],
        batch_size=48,
        learning_rate=request.get("learning_rate", 0.005),
        evaluate_every=1,
        limit=100,
        augmentation=request.get("augmentation", ()),
    )
    data = find("datamodules", "digits").load()(
        views=ViewRange(rotation=(-15, 15), shift=(-2, 2)),
        batch_size=recipe.batch_size,
        limit=recipe.limit,
        augmentation=recipe.augmentation,
    )
    cls = find("models", request["model"]).load()
    result = train(
        lambda: cls(
            image_shape=data.image_shape, num_classes=data.num_classes, **request["arguments"]
        ),
        data,
        recipe,
        Execution(device="cpu", devices=request["devices"], wandb="off"),
        seed=0,
        state=state,
        loggers=[],
        on_step=lambda step: None,
        on_rows=lambda rows: None,
        follow=["familiar"] if request.get("follow") else [],
    )
    return [{key: row[key] for key in row if key != "seconds"} for row in result.rows]


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(sys.argv[1])
    rows = trajectory(json.loads(path.read_text()), path.with_suffix(".ckpt"))
    answer_file(path).write_text(json.dumps(rows))
