"""Files of this folder that are no tests."""

collect_ignore = ["make_torchattacks_values.py"]  # needs torchattacks, installed by hand
