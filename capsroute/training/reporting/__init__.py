"""What a run tells while it runs and when it ends: lines, metrics, figures."""
