"""Floor 4: Lightning modules for SFT, DPO, hybrid and GRPO over one VLM wrapper."""
