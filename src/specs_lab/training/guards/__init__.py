"""What a training does about numbers that are not finite, and about memory that runs out."""
