"""Readers of the file formats of published data sets; no file is ever unpickled."""
