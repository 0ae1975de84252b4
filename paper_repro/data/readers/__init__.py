"""What reads images that do not fit in memory: the folder, by torchvision, and FFCV's files."""
