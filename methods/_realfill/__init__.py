"""RealFill, in parts: settings, data, masks, loss, LoRA, training, filling."""
