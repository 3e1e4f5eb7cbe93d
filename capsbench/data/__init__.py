"""Image data held in memory, its splits, and the order and views in which a training sees it."""
