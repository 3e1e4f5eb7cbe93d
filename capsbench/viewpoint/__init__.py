"""Viewpoints: factors, ranges and grids of views, their matrices, and the warp."""
