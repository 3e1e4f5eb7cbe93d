"""Tables of every page: one `Table` class, one function per table, three renderers."""
