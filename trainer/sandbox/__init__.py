"""What a training process is left of the system it runs on."""
