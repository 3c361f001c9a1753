"""Who samples the responses of RL: this process, or a server."""
