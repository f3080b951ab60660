"""Speed, memory and fairness, measured as ratios in one run."""
