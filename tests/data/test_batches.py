"""The order in which images are seen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.data.batches import EvaluationPass, Split, StoredBatch, TrainingStream
from capsbench.data.splits import balanced_order, hold_out
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views


def numbered(count):
    numbers = torch.arange(count)
    images = (numbers % 256).to(torch.uint8)[:, None, None, None].expand(count, 1, 2, 2)
    return Split(images, numbers % 3, numbers)


def stream(count=10, batch_size=4, **more):
    def draw(number):
        generator = torch.Generator().manual_seed(number)
        return Views.draw(ViewRange(rotation=(-180, 180)), batch_size, generator)

    split = numbered(count)

    def make_batch(number, rows, share):
        return stored(split[rows[share]], draw(number)[share])

    return TrainingStream(count, batch_size=batch_size, make_batch=make_batch, seed=0, **more)


def stored(images, views):
    return StoredBatch(images.images, images.targets, views, images.index)


def evaluation(count, views=None, **more):
    split = numbered(count)
    views = Views.identity(count) if views is None else views
    return EvaluationPass(
        torch.arange(count), make_batch=lambda rows: stored(split[rows], views[rows]), **more
    )


def indices(batches):
    return [batch.index.tolist() for batch in batches]


@given(st.integers(1, 30), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_passes_laid_end_to_end_hold_each_image_once(count, batch):
    run = stream(count, batch)
    numbers = -(-3 * count // batch)
    seen = torch.cat([run[number].index for number in range(numbers)])
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))
    assert all(len(run[number].index) == batch for number in range(numbers))


def test_orders_of_passes_and_seeds_differ():
    run = stream(50, 50)
    other = TrainingStream(50, batch_size=50, make_batch=run.make_batch, seed=1)
    assert run[0].index.tolist() != run[1].index.tolist() != other[1].index.tolist()


def test_images_targets_and_index_belong_together():
    batch = stream()[1]
    assert torch.equal(batch.targets, batch.index % 3)
    assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.index)


def test_a_resumed_stream_continues_where_it_stopped():
    whole = stream()
    undisturbed = indices(whole) + indices(whole) + indices(whole)
    first = stream()
    taken = []
    for batch in first:
        taken.append(batch.index.tolist())
        if len(taken) == 1:
            break
    second = stream()
    second.load_state_dict(first.state_dict())
    taken += indices(second) + indices(second) + indices(second)
    assert taken == undisturbed


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_each_global_batch(world):
    alone = stream(batch_size=8)[3]
    shares = [stream(batch_size=8, rank=rank, world=world)[3] for rank in range(world)]
    index = torch.stack([share.index for share in shares], dim=1).flatten()
    rotation = torch.stack([share.views.rotation for share in shares], dim=1).flatten()
    assert torch.equal(index, alone.index)
    assert torch.equal(rotation, alone.views.rotation)


@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_evaluation_counts_each_image_once_in_any_number_of_processes(count, batch_size, world):
    passes = [
        evaluation(count, batch_size=batch_size, rank=rank, world=world) for rank in range(world)
    ]
    seen = [index for one in passes for rows in indices(one) for index in rows]
    assert sorted(seen) == list(range(count))
    assert len({len(one) for one in passes}) == 1
    assert all(len(rows) <= batch_size for one in passes for rows in indices(one))


def test_evaluation_views_follow_their_images():
    views = Views.draw(ViewRange(rotation=(-180, 180)), 10, torch.Generator())
    for batch in evaluation(10, views, batch_size=3, rank=1, world=2):
        assert torch.equal(batch.views.rotation, views.rotation[batch.index])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_every_beginning_of_a_balanced_order_is_balanced(classes):
    targets = torch.tensor(classes)
    order = balanced_order(targets, "test")
    assert sorted(order.tolist()) == list(range(len(classes)))
    available = torch.bincount(targets)
    for end in range(1, len(classes) + 1):
        counts = torch.bincount(targets[order[:end]], minlength=len(available))
        unfinished = counts[counts < available]
        if len(unfinished):
            assert counts.max() - unfinished.min() <= 1


def test_hold_out_divides_and_is_a_function_of_its_names():
    targets = torch.arange(100) % 10
    kept, held = hold_out(targets, 0.2, "a")
    assert sorted(kept.tolist() + held.tolist()) == list(range(100))
    assert torch.bincount(targets[held]).tolist() == [2] * 10
    assert torch.equal(hold_out(targets, 0.2, "a")[1], held)
    assert not torch.equal(hold_out(targets, 0.2, "b")[1], held)
