"""Who judges open-text answers; one file an option of the group `judge`, and what judges that are models share."""
