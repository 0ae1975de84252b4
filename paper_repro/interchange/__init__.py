"""Networks from elsewhere and for elsewhere.

Takes released checkpoints and finished runs; gives plain networks, state dicts, safetensors and ONNX. Knows no table
and no training.
"""
