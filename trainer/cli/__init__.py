"""The trainer's commands, one file a group."""
