"""Room of this machine: which works fit beside each other, and on which devices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from capsbench.errors import UserError
from capsbench.executors.executor import Work

DeviceKind = Literal["cpu", "cuda", "mps"]
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Place:
    """The part of a machine that a work gets.

    Attributes:
        devices: Numbers or names of accelerators; empty on a processor.
        cores: Processor cores.
    """

    devices: tuple[str, ...]
    cores: int

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables that show a process these devices alone, with its share of the cores."""
        if not self.devices:
            return {}
        return {VISIBLE: ",".join(self.devices), "OMP_NUM_THREADS": str(self.cores)}


class Room:
    """Free cores of a processor, or free shares of accelerators.

    On a processor a work takes the cores of its threads. One that states more threads than there
    are cores takes all of them. On accelerators a work takes a share of one device, or all of
    several.

    Args:
        cores: Cores that this process may use.
        devices: The accelerators; empty on a processor.
        per_device: Works that share an accelerator.
    """

    def __init__(self, cores: int, devices: Sequence[str] = (), per_device: int = 1) -> None:
        self.cores = cores
        self.per_device = per_device
        self._free_cores = cores
        self._free_shares = dict.fromkeys(devices, per_device)

    @classmethod
    def of_machine(cls, kind: DeviceKind, per_device: int) -> Self:
        """Return the room of this machine on a kind of device.

        Cores are those that this process may use, by affinity and the limits of a container.
        """
        import joblib

        if kind == "cpu":
            return cls(joblib.cpu_count())
        devices = visible_devices() if kind == "cuda" else ["0"]
        return cls(joblib.cpu_count(), devices, per_device)

    def take(self, work: Work) -> Place | None:
        """Take the room for a work; None if there is too little now.

        Raises:
            UserError: There are not as many devices.
        """
        if self._free_shares:
            return self._take_devices(work)
        needed = min(self.cores, work.threads * work.devices)
        if self._free_cores < needed:
            return None
        self._free_cores -= needed
        return Place((), needed)

    def _take_devices(self, work: Work) -> Place | None:
        shares = self._free_shares
        if work.devices > len(shares):
            raise UserError(
                f"{work.title} takes {work.devices} devices, and there are {len(shares)} here; "
                "request fewer --devices"
            )
        if work.devices == 1:
            device = max(shares, key=shares.__getitem__)
            chosen = [device] if shares[device] else []
        else:
            chosen = [device for device, free in shares.items() if free == self.per_device]
        if len(chosen) < work.devices:
            return None
        taken = self._shares(work.devices)
        for device in chosen[: work.devices]:
            shares[device] -= taken
        return Place(tuple(chosen[: work.devices]), self._cores_per_share * work.devices)

    def release(self, place: Place) -> None:
        """Give the room of a work back."""
        if not place.devices:
            self._free_cores += place.cores
        for device in place.devices:
            self._free_shares[device] += self._shares(len(place.devices))

    def _shares(self, devices: int) -> int:
        """Return the shares of each device that a work on some devices takes."""
        return 1 if devices == 1 else self.per_device

    @property
    def _cores_per_share(self) -> int:
        return max(1, self.cores // (len(self._free_shares) * self.per_device))


def visible_devices() -> list[str]:
    """Return the CUDA devices that this process may use, as they are named to other processes.

    Of several instances of a divided GPU (MIG) a process uses the first one alone; others can use
    the others.
    """
    import torch

    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",")]
    if all(name.startswith("MIG-") for name in names):
        return names
    count = torch.cuda.device_count()
    return names[:count] if any(names) else [str(number) for number in range(count)]
