"""The brain: every decision, and nothing else.

No I/O, no clock, no await, no randomness, no logging. An event comes in with its time, `step` answers with the next
state and with what is to be done once; what should be *going on* (deadlines, watches) is derived from the state.
"""
