"""Floor 2: the one wrapper through which everything else talks to a vision-language model, and the embedded models."""
