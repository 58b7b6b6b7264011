"""The heart: takes events one at a time, asks the core, writes the journal, has the effects done."""
