"""Scikit-learn's handwritten digits: real images that come with a dependency."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import torch
from torch.nn.functional import interpolate, pad

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.splits import hold_out
from capsbench.errors import UserError


class Digits(ImageDataModule):
    """1,797 handwritten digits of scikit-learn, enlarged to 32 x 32; no download.

    The 8 x 8 images (0..16) are enlarged bilinearly to 24 x 24 in the middle of a black 32 x 32
    canvas, so that a small rotation or shift cuts nothing off. The set has no official division;
    this one holds out 400 images for the test and 199 for validation, the classes balanced.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).
    """

    identity = Identity(
        "digits", "1", "sha256:8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    )
    image_shape = (1, 32, 32)
    num_classes = 10
    class_names = tuple("0123456789")
    turned_alike = ((6, 9),)
    source: ClassVar[str] = (
        "scikit-learn, load_digits (UCI Optical Recognition of Handwritten Digits)"
    )

    def load(self) -> dict[SplitName, Split]:
        """Load the digits from scikit-learn, enlarge them and divide them."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        stored = digits.images.astype("uint8")
        checksum = f"sha256:{sha256(stored.tobytes()).hexdigest()}"
        if checksum != self.identity.checksum:
            raise UserError(
                f"scikit-learn's digits are not those of this data module: expected "
                f"{self.identity.checksum}, got {checksum}; install another scikit-learn"
            )
        small = torch.from_numpy(stored).float()[:, None] * (255 / 16)
        large = interpolate(small, size=(24, 24), mode="bilinear", align_corners=False)
        images = pad(large.round().to(torch.uint8), (4, 4, 4, 4))
        targets = torch.from_numpy(digits.target).long()
        all_images = Split(images, targets, torch.arange(len(targets)))
        rest, test = hold_out(targets, 400 / 1797, "digits", "test")
        train, validation = hold_out(targets[rest], 199 / 1397, "digits", "validation")
        return {
            "train": all_images[rest[train]],
            "validation": all_images[rest[validation]],
            "test": all_images[test],
        }

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line: the digits need no file."""
        return "comes with scikit-learn"
