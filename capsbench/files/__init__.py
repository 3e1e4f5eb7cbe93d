"""Files of data sets: downloads, locks, checksums, archives and cached arrays."""
