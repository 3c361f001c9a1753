"""What of a model learns: all of it, or a small adapter on frozen weights; one file an option of group `adapter`."""
