"""The hands: what the supervisor asks of Linux, one mechanism per module. Nothing here decides or waits."""
