"""The room of a machine: cores on a processor, shares of devices elsewhere."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from capsbench.errors import UserError
from capsbench.executors.executor import Work
from capsbench.executors.room import Room, visible_devices


def work(devices=1, threads=1):
    return Work("id", "title", "", devices=devices, threads=threads)


def taken(room, work):
    place = room.take(work)
    assert place is not None
    return place


def test_a_work_takes_the_cores_of_its_threads():
    room = Room(4)
    places = [room.take(work(threads=2)) for _ in range(3)]
    assert [place and place.cores for place in places] == [2, 2, None]
    assert places[0] is not None
    room.release(places[0])
    assert room.take(work(threads=2)) is not None


def test_a_work_of_more_threads_than_cores_takes_all():
    room = Room(2)
    assert taken(room, work(threads=8)).cores == 2
    assert room.take(work()) is None


def test_works_spread_over_devices_before_they_share_one():
    room = Room(8, ["0", "1"], per_device=2)
    assert [taken(room, work()).devices for _ in range(4)] == [("0",), ("1",), ("0",), ("1",)]
    assert room.take(work()) is None


def test_a_work_on_several_devices_shares_none():
    room = Room(8, ["0", "1", "2"], per_device=2)
    small = taken(room, work())
    large = taken(room, work(devices=2))
    assert set(large.devices) == {"0", "1", "2"} - set(small.devices)
    assert taken(room, work()).devices == small.devices
    assert room.take(work()) is None


def test_devices_are_shown_by_variables():
    room = Room(8, ["GPU-a", "GPU-b"])
    place = taken(room, work())
    assert place.variables == {"CUDA_VISIBLE_DEVICES": "GPU-a", "OMP_NUM_THREADS": "4"}
    assert taken(Room(2), work()).variables == {}


def test_a_work_on_more_devices_than_there_are_is_refused():
    with pytest.raises(UserError, match="3 devices"):
        Room(8, ["0", "1"]).take(work(devices=3))


@pytest.mark.parametrize(
    ("visible", "count", "devices"),
    [
        (None, 2, ["0", "1"]),
        ("", 0, []),
        ("3, 1", 2, ["3", "1"]),
        ("3,-1,1", 1, ["3"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("MIG-a,MIG-b", 1, ["MIG-a", "MIG-b"]),  # a process counts the first one alone
    ],
)
def test_devices_are_named_as_the_environment_does(monkeypatch, visible, count, devices):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_devices() == devices


@pytest.mark.parametrize("devices", [(), ("0", "1", "2")])
@given(sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=12))
def test_what_is_released_is_free_again(devices, sizes):
    room = Room(4, devices, per_device=2)
    places = [room.take(work(*size)) for size in sizes]
    for place in places:
        if place is not None:
            room.release(place)
    whole = work(devices=3) if devices else work(threads=4)
    assert room.take(whole) is not None
