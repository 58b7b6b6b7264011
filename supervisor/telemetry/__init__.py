"""What the supervisor tells of itself: the log, and figures sampled when somebody asks."""
