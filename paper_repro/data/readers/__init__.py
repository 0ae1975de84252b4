"""What reads images that do not fit in memory: the folder, by torchvision or NVIDIA DALI, and FFCV's files."""
