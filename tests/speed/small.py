"""Tiny networks with dynamic and EM routing."""

from capsbench.models.capsnet_dr import CapsNetDR
from capsbench.models.capsnet_em import CapsNetEM


class SmallCapsNet(CapsNetDR):
    """Tiny network with dynamic routing."""

    def __init__(self, *, image_shape, num_classes):
        super().__init__(
            image_shape=image_shape,
            num_classes=num_classes,
            channels=4,
            kernel=3,
            primary_types=2,
            primary_kernel=3,
            decoder=(4,),
        )


class SmallMatrixCapsules(CapsNetEM):
    """Tiny network with EM routing."""

    def __init__(self, *, image_shape, num_classes):
        super().__init__(
            image_shape=image_shape,
            num_classes=num_classes,
            channels=4,
            primary_types=2,
            types=(2, 2),
        )
