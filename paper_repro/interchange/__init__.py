"""Networks that come from elsewhere, and networks that leave: the authors' checkpoints, safetensors, ONNX."""
