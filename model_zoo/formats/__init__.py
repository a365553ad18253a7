"""What a release may hold, judged by content and never by name."""
