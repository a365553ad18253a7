"""Who may do what: the keys of publishers and trainers."""
