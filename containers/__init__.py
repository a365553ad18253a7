"""What the containers run beside ``zoo``, and how ``make containers`` checks it."""
