"""The pages of results in the documentation, made from exported records alone."""
