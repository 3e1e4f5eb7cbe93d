"""Views (rotation, shift, scale, shear): ranges, grids, matrices and the warp."""
