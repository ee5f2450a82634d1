"""The back half: torch at the top.  Imported only inside a worker."""
