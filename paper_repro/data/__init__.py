"""The data sets: what they are, where they are found or fetched from, how they are verified and fed."""
