"""The zoo as a TUF repository: online keys, the metadata it keeps, what it accepts."""
