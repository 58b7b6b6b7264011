"""The configuration: what may be written, how it is read, and what it means to the other rooms."""
