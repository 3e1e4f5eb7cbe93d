"""Ray-cast images of objects made of simple shapes, with the exact pose of every part."""
