"""What is written of a run; installed as realbench.reports."""
