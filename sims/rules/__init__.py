"""How weights change when neurons fire: the rules that ship, and what a rule of one's own has to have."""
