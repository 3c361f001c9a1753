"""What stages cost on other machines: a roofline whose efficiencies are measured or, for GPUs, assumed as ranges."""
