"""The parties of the lab, and what they say to each other."""
