"""Training: recipe, execution, task, trajectory and selection rules."""
