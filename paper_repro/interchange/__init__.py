"""Networks from elsewhere and for elsewhere: released checkpoints in, state dicts, safetensors and ONNX out.

Knows no table and no training.
"""
