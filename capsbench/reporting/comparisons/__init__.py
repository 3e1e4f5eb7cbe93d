"""Comparisons of models over seeds and images, with published numbers, and verdicts on claims."""
