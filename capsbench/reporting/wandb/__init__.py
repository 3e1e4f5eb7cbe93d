"""Runs, reports and views on Weights & Biases, made from the records of a runs folder."""
