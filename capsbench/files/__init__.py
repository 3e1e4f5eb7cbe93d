"""Files of data sets: downloads, leases, checksums, archives and cached arrays."""
