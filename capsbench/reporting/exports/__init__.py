"""Records in one file to be shared, and the checks that such a file must pass."""
