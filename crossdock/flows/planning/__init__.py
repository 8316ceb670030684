"""From two listings to a plan: what shall be done with each object, what it will ask for and cost, and the plan written down."""
