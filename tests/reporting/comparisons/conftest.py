"""Records behind made-up claims."""

from typing import Any

import numpy as np
import pytest

from capsbench.measures import index_name
from capsbench.records import load_results
from capsbench.values import Quantity, Value
from tests.reporting.comparisons.made_up_claims import (
    ERROR,
    FAMILIAR,
    GAIN,
    MODELS,
    NOVEL,
    SEEDS,
    SPLITS,
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory, write_benchmark, add_measure):
    """Caps is more accurate than CNN by 0.3, far beyond chance; Same is like CNN.

    On novel images all of them guess, and the first seed of CNN guesses on familiar ones, too.
    Training adds 0.2 to a measure of Caps, and takes 0.1 from that of CNN, which is the larger one.
    """
    folder = write_benchmark(tmp_path_factory.mktemp("parts"), models=MODELS, seeds=SEEDS)
    random = np.random.default_rng(0)
    for label, share in (("CNN", 0.5), ("Caps", 0.8), ("Same", 0.5)):
        for seed in SEEDS:
            values, per_image = list[Value](), dict[str, Any]()
            for quantity, mean in ((FAMILIAR, share), (NOVEL, 0.5)):
                correct = random.random(4000) < mean
                values.append(quantity.with_value(float(correct.mean()), 4000))
                per_image |= {quantity.name: correct, index_name(quantity.split): np.arange(4000)}
            add_measure(folder, label, seed, SPLITS, values, per_image=per_image)
            error = {"CNN": 0.2, "Caps": 0.1, "Same": 0.2}[label] + 0.004 * random.random()
            values = [Quantity(metric=ERROR, layer=label).with_value(error, 4000)]
            add_measure(folder, label, seed, {"measure": "calibration"}, values)
            trained, before = {"CNN": (0.7, 0.8), "Caps": (0.4, 0.2), "Same": (0.7, 0.8)}[label]
            noise = 0.01 * random.random(2)
            values = [
                GAIN.with_value(trained + noise[0], 100),
                GAIN.of_untrained().with_value(before + noise[1], 100),
            ]
            add_measure(folder, label, seed, {"measure": "linear-equivariance"}, values)
    return {"one": load_results(folder)}
