"""Studies of the papers that compare no conditions, but are run over seeds as an experiment is."""
