"""The supply-chain laboratory: adversary, victim and operator, played for real."""
