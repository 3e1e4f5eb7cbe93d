"""Executors: the engines that carry out jobs, on this machine, on Ray and on SLURM."""
