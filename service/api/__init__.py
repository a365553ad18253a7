"""HTTP and nothing else: one router per noun."""
