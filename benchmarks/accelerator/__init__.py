"""What a GPU does with the trainer's work, measured beside the CPU."""
