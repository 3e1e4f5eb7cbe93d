"""The fitted exponent: against loops over a grid, scikit-learn and known temperatures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from capsbench.contracts import Model, Prediction, class_recall
from capsbench.metrics.calibration_error import CalibrationError
from capsbench.training.probability_exponent import BOUNDS, fit_exponent, fit_model
from tests.data.made_up import Flat


def draw(*, images=400, classes=5, temperature=1.0, seed=0, scale=2.0):
    """Return logits, and classes drawn from their softmax at a temperature."""
    draws = np.random.default_rng(seed)
    logits = scale * draws.normal(size=(images, classes))
    probabilities = np.exp(logits / temperature)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = (probabilities.cumsum(axis=1) < draws.random((images, 1))).sum(axis=1)
    return logits, np.eye(classes)[targets]


def naive_loss(exponent, logits, shares):
    """The mean negative log-likelihood with one more image of any class, image by image."""
    n, classes = logits.shape
    total = 0.0
    for scores, present in zip(logits.tolist(), shares.tolist(), strict=True):
        normaliser = math.log(math.fsum(math.exp(exponent * score) for score in scores))
        for score, share in zip(scores, present, strict=True):
            total -= (share + 1 / (n * classes)) * (exponent * score - normaliser)
    return total / (n + 1)


def test_no_exponent_of_a_fine_grid_is_more_likely():
    logits, shares = draw(images=40, temperature=2.5)
    exponent, note = fit_exponent(logits, shares)
    assert note is None
    best = naive_loss(exponent, logits, shares)
    grid = np.exp(np.linspace(math.log(0.01), math.log(100), 400))
    assert all(naive_loss(each, logits, shares) >= best for each in grid)
    for factor in (1 - 1e-3, 1 + 1e-3):
        assert naive_loss(factor * exponent, logits, shares) > best


def repeated(logits, shares):
    """Return each image once for each class, and n K times more for its own, with the classes."""
    n, classes = shares.shape
    counts = (n * classes * shares + 1).astype(int).ravel()
    targets = np.tile(np.arange(classes), n)
    return np.repeat(np.repeat(logits, classes, axis=0), counts, axis=0), np.repeat(targets, counts)


def test_temperature_scaling_of_scikit_learn_is_the_same():
    logits, shares = draw(images=30, classes=3, temperature=0.3)
    inputs, targets = repeated(logits, shares)
    identity = LogisticRegression()  # its decision function is its input
    identity.classes_, identity.coef_, identity.intercept_ = np.arange(3), np.eye(3), np.zeros(3)
    fitted = CalibratedClassifierCV(
        FrozenEstimator(identity), method="temperature", cv=2, ensemble=False
    )
    fitted.fit(inputs, targets)
    expected = fitted.calibrated_classifiers_[0].calibrators[0].beta_
    assert fit_exponent(logits, shares).exponent == pytest.approx(expected, rel=1e-6)


def test_the_exponent_of_two_classes_is_a_slope_of_logistic_regression():
    logits, shares = draw(images=40, classes=2, temperature=3.0)
    inputs, targets = repeated(logits, shares)
    regression = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-10)
    regression.fit(inputs[:, 1:] - inputs[:, :1], targets)
    expected = regression.coef_.item()
    assert fit_exponent(logits, shares).exponent == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_a_known_temperature_is_recovered(temperature):
    """Guo et al. 2017: over-confident logits need a temperature above 1, under-confident below."""
    logits, shares = draw(images=20_000, temperature=temperature, classes=10)
    exponent = fit_exponent(logits, shares).exponent
    assert exponent == pytest.approx(1 / temperature, rel=0.05)
    fresh, present = draw(images=20_000, temperature=temperature, classes=10, seed=1)
    errors = []
    for each in (1.0, exponent):
        likely = torch.tensor(each * fresh).softmax(dim=1).max(dim=1).values
        metric = CalibrationError()
        metric.update(likely, torch.tensor(fresh.argmax(1) == present.argmax(1)))
        errors.append(float(metric.compute().error))
    assert errors[1] < 0.015
    assert temperature == 1 or errors[0] > 0.1


problems = st.tuples(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.2, 5))


@given(problems, st.floats(0.05, 20))
@settings(max_examples=40, deadline=None)
def test_properties_of_the_fit(problem, factor):
    seed, classes, temperature = problem
    logits, shares = draw(images=30, classes=classes, temperature=temperature, seed=seed)
    exponent, note = fit_exponent(logits, shares)
    if note is not None:  # the logits of a few images may be worse than none
        assert exponent == 1
        return
    # At the maximum the expected logit is that of the shares (with one more image of any class).
    probabilities = torch.tensor(exponent * logits).softmax(dim=1).numpy()
    weights = (30 * shares + 1 / classes) / 31
    assert ((probabilities - weights) * logits).sum() == pytest.approx(0, abs=1e-3)
    draws = np.random.default_rng(seed)
    order = draws.permutation(30)
    moved = logits + 10 * draws.normal(size=(30, 1))
    assert fit_exponent(factor * logits, shares).exponent == pytest.approx(
        exponent / factor, rel=1e-5
    )
    assert fit_exponent(moved, shares).exponent == pytest.approx(exponent, rel=1e-5)
    assert fit_exponent(logits[order], shares[order]).exponent == pytest.approx(exponent, rel=1e-5)
    assert fit_exponent(logits, shares) == (exponent, note)


def test_an_image_of_several_objects_counts_by_equal_shares():
    logits, _ = draw(images=50)
    both = np.eye(5)[logits.argmax(1)] + np.eye(5)[logits.argsort(1)[:, -2]]
    inputs, shares = np.repeat(logits, 2, axis=0), np.repeat(both / 2, 2, axis=0)
    exponent = fit_exponent(logits, both / 2).exponent
    best = naive_loss(exponent, logits, both / 2)
    assert naive_loss(0.99 * exponent, logits, both / 2) > best
    assert naive_loss(1.01 * exponent, logits, both / 2) > best
    assert fit_exponent(inputs, shares).exponent > exponent  # one image of any class in more


def test_the_exponent_is_finite_if_every_image_is_classified_correctly():
    logits, _ = draw(images=100)
    exponent, note = fit_exponent(logits, np.eye(5)[logits.argmax(1)])
    assert note is None
    assert 1 < exponent < 100


BAD = {
    "no images": (np.zeros((0, 3)), np.zeros((0, 3)), "no validation images"),
    "NaN": (np.array([[0.0, 1.0], [np.nan, 0.0]]), np.eye(2), "1 validation images are not finite"),
    "infinite": (np.array([[0.0, -np.inf], [0.0, 1.0]]), np.eye(2), "not finite"),
    "constant": (np.ones((4, 3)), np.eye(3)[[0, 1, 2, 0]], "same for all classes"),
    "wrong": (np.eye(3)[[1, 2, 0]], np.eye(3), f"between {BOUNDS[0]:g} and {BOUNDS[1]:g}"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_exponent_stays_1_with_a_reason(case):
    logits, shares, reason = BAD[case]
    exponent, note = fit_exponent(logits, shares)
    assert exponent == 1
    assert note is not None
    assert reason in note


class Reading(Model):
    """Reads the class from the shade of `Flat` images, for every fifth a wrong one.

    It draws noise also in evaluation mode, and each pass overwrites the scores of the last one.
    """

    buffer: torch.Tensor

    def __init__(self, noise=0.0, sign=1):
        super().__init__(image_shape=(1, 8, 8), num_classes=3)
        self.noise, self.sign = noise, sign
        self.register_buffer("buffer", torch.zeros(15, 3))

    def forward(self, images, views=None):
        rows = (images[:, 0, 0, 0] * 255 / 4).round().long()
        likely = torch.nn.functional.one_hot((rows + (rows % 5 == 0)) % 3, 3)
        scores = self.sign * likely * (1 + rows % 4)[:, None] / 4
        self.buffer[: len(images)] = scores + self.noise * torch.randn(scores.shape)
        return Prediction(self.buffer[: len(images)])

    def loss(self, prediction, batch, progress):
        raise AssertionError("a fit trains nothing")


def test_a_model_is_fitted_on_its_validation_images(monkeypatch):
    monkeypatch.setattr("capsbench.data.evaluation.EVALUATION_BATCH", 4)
    data, model = Flat(), Reading()
    state = torch.random.get_rng_state()
    fit = fit_model(model, data, "cpu", 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    batch = data.evaluation.get_batch("validation", torch.arange(len(data.split("validation"))))
    logits = model(batch.images).scores.double().numpy()
    assert fit == fit_exponent(logits, np.eye(3)[batch.targets])
    assert fit.note is None
    assert model.probability_exponent == 1
    assert model.training


class ObjectPairs(Flat):
    """Images of two objects each."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        warped = super().on_after_batch_transfer(batch, dataloader_idx)
        warped.targets = 1 - torch.nn.functional.one_hot(warped.targets, 3)
        return warped


def test_the_objects_of_an_image_share_it():
    data, model = ObjectPairs(), Reading(sign=-1)
    batch = data.evaluation.get_batch("validation", torch.arange(len(data.split("validation"))))
    logits = model(batch.images).scores.double().numpy()
    fit = fit_model(model, data, "cpu", 0)
    assert fit == fit_exponent(logits, batch.targets.numpy() / 2)
    assert fit.note is None


def test_a_model_that_draws_at_random_is_fitted_the_same_again():
    fits = []
    for noise in range(2):
        torch.manual_seed(noise)
        fits.append(fit_model(Reading(noise=0.1), Flat(), "cpu", 3))
    assert fits[0] == fits[1]
    assert fits[0] != fit_model(Reading(noise=0.1), Flat(), "cpu", 4)


@given(st.floats(*BOUNDS), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_no_exponent_changes_a_class(exponent, seed):
    draws = torch.Generator().manual_seed(seed)
    scores = torch.randn(50, 4, generator=draws).mul(3).round() / 3  # with ties
    scores[::2] += 1e-7 * torch.randn(25, 4, generator=draws)  # and nearly
    targets = torch.randint(4, (50,), generator=draws)
    model, prediction = Reading(), Prediction(scores)
    before = class_recall(model.logits(prediction), targets)
    ties = model.log_probabilities(prediction)[1::2]
    model.probability_exponent.fill_(exponent)
    assert torch.equal(class_recall(model.logits(prediction), targets), before)
    after = model.log_probabilities(prediction)
    assert (after.gather(1, scores.argsort(dim=1)).diff(dim=1) >= 0).all()
    tied = ties[:, :, None] == ties[:, None]
    assert (after[1::2, :, None] == after[1::2, None])[tied].all()
