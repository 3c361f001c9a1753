"""Floor 2: records, and the construction of training data from models."""
