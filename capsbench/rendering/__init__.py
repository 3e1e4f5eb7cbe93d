"""Rendered objects: unions of simple shapes, cast by rays, with the exact pose of every part."""
