"""What is measured; one file an option of the group `suite`."""
