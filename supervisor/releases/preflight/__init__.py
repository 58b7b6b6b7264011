"""What can be said of a file before it is started, without running it. Never part of the idle daemon."""
