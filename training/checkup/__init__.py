"""The doctor's checks, a room of their own: what each looks at, what is wrong there, and how it is mended without losing anything."""
