"""To and from other systems: trained models as plain Hugging Face folders, and data sets of other trainers."""
