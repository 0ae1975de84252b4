"""What came out: results, statistics, verdicts, claims, figures and notebooks. Nothing here imports torch."""
