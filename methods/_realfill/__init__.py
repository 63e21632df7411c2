"""RealFill's fit: data, loss, LoRA, training."""
