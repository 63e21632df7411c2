"""Method adapters, one file each; installed as realbench.methods."""
