"""The worker's side of a job: lease, supervise, attempt, hand over."""
