"""Linear models trained on packed data."""
