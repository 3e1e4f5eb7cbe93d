"""A section that finds a GPU."""


def plan(parts):
    return {"device": lambda: {"device": "cuda", "names": ["H200"]}}
