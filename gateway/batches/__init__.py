"""OpenAI's Files and Batch APIs: many requests in one file, answered when there is room."""
