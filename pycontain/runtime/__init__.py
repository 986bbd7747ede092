"""Does what a plan says: lifecycle verbs, stages, channel, seal, state and journal."""
