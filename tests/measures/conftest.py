"""Files of this folder that are no tests."""

collect_ignore = [
    "make_torchattacks_values.py"
]  # it imports torchattacks, which is installed by hand
