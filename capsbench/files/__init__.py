"""Files of data sets: fetched, locked, checked before they are opened, cached."""
