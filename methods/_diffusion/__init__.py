"""What the diffusion adapters share."""
