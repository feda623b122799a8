"""Predictions as Replicate's clients have them: made, waited for, followed, cancelled, and told of by webhooks."""
