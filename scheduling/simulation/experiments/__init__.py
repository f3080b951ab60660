"""The article told as experiments: what to play, what to look at, and one sentence of what was seen."""
