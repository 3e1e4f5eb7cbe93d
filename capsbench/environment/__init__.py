"""The process and its surroundings: streams, signals, variables, and failures as sentences."""
