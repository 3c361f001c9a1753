"""What problems are made of, as a page with pictures: ``specs-lab inspect``."""
