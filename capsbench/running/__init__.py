"""From a protocol to records: cells, jobs with their dependencies, and what carries them out."""
