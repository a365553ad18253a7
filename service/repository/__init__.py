"""The zoo as a TUF repository: what was signed is checked, committed and listed."""
