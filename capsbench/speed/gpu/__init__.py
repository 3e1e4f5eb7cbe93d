"""Check of a machine with CUDA in six minutes: ``python -m capsbench.speed.gpu`` or ``make gpu``.

Each section is one module of `sections` and runs in a process of its own, so that a crash, a hang
or an error of the device costs this section alone. Results are in one file, ``gpu.json``.
"""
