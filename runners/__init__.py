"""Where work executes; installed as realbench.runners."""
